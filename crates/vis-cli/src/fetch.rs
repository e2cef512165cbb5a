//! `vis fetch`.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};
use vis::Progress;
use vis::model::weights::{Download, Pretrained};

use crate::bar::Bar;
use crate::failure::{Failure, Outcome};
use crate::output::{self, JsonOption};
use crate::progress::{Work, is_interrupted};
use crate::report::Report;

#[derive(Debug, Args, Serialize)]
#[command(after_help = EXAMPLES)]
pub(crate) struct FetchOptions {
    /// A network by its name, or the URL of any file
    #[arg(value_name = "NAME|URL", required_unless_present = "list")]
    what: Option<String>,

    /// List the networks: name, size, licence, where from, and whether the file is here
    #[arg(long, conflicts_with_all = ["what", "sha256", "output"])]
    list: bool,

    /// The SHA-256 that the file of a URL must have; without it whatever the server sends is taken
    #[arg(long, value_name = "HEX", help_heading = "Results")]
    sha256: Option<String>,

    /// The file to write from a URL; FILE.part is the unfinished one, and the next run goes on with it
    #[arg(short, long, value_name = "FILE", help_heading = "Results")]
    output: Option<PathBuf>,

    /// Leave the network alone: a file that is not here is an error
    #[arg(long)]
    offline: bool,

    /// For how long the server may say nothing before the connection is tried anew
    #[arg(long, value_name = "SECONDS", default_value = "30")]
    timeout: f64,

    #[command(flatten)]
    #[serde(skip)]
    json: JsonOption,
}

const EXAMPLES: &str = "\
Examples:
  vis fetch --list
  vis fetch vgg19
  vis classify --model vgg16 --weights \"$(vis fetch vgg16)\" --image cat.jpg
  vis fetch https://example.org/net.onnx --sha256 2cf24dba... -o net.onnx

A network by name is looked for in the folder that VIS_WEIGHTS names, in the cache of Hugging Face (HF_HUB_CACHE,
HF_HOME), and in that of vis (VIS_CACHE), where it is put if it is fetched. The command prints where it is. HF_ENDPOINT
names a mirror, HF_HUB_OFFLINE=1 is --offline for networks by name, https_proxy and no_proxy are as everywhere.";

impl FetchOptions {
    pub(crate) fn run(self) -> Outcome {
        let mut report = Report::new("fetch", &self, self.json.json);
        match &self.what {
            None => list(&mut report),
            Some(url) if url.contains("://") => self.fetch_url(url, &mut report)?,
            Some(name) => self.fetch_network(name, &mut report)?,
        }
        report.print()
    }

    fn fetch_network(&self, name: &str, report: &mut Report) -> Outcome {
        if self.sha256.is_some() || self.output.is_some() {
            return Err(Failure::misuse(
                "--sha256 and -o go with a URL: a network by name has its own, and its own place",
            ));
        }
        let network = Pretrained::named(name).map_err(|error| Failure::misuse(error.to_string()))?;
        if network.at_hand().is_none() {
            // Before it comes, and not among the results.
            let (size, licence, url) = (megabytes(network), network.licence, network.url());
            let line = format!("{name}: {}; licence {licence}; {size} from {url}", network.description);
            let _ = writeln!(std::io::stderr(), "{line}");
        }
        let path = self.watched(|offer| network.fetch(|download| offer.accept(download)))?;
        report.say(path.display().to_string());
        report.set("path", path.display().to_string());
        report.set("network", described(network));
        Ok(())
    }

    fn fetch_url(&self, url: &str, report: &mut Report) -> Outcome {
        let Some(path) = &self.output else {
            return Err(Failure::misuse("name the file to write with -o FILE"));
        };
        output::check(&[path], &[])?;
        let fetched = self.watched(|offer| {
            let download = Download::new(url);
            let download = match &self.sha256 {
                Some(digits) => download.sha256(digits),
                None => download,
            };
            offer.accept(download).to(path)
        })?;
        if fetched.was_there {
            report.say(format!("{} is there already, and right", path.display()));
        } else {
            report.wrote("output", path);
        }
        report.say(format!("{} bytes, sha256 {}", fetched.length, fetched.sha256));
        report.set("length", fetched.length);
        report.set("sha256", fetched.sha256);
        report.set("was_there", fetched.was_there);
        Ok(())
    }

    /// Runs a download with the settings of the command, a line that says how far it is, and an ear for Ctrl-C.
    fn watched<T>(&self, fetch: impl FnOnce(Offer) -> vis::Result<T>) -> Outcome<T> {
        let timeout = Duration::try_from_secs_f64(self.timeout).map_err(|_| {
            Failure::misuse(format!("--timeout must be a number of seconds, not {}", self.timeout))
        })?;
        let work = Work::begin();
        let fetched = fetch(Offer { timeout, offline: self.offline });
        let interrupted = is_interrupted();
        work.end();
        fetched.map_err(|error| {
            if interrupted { Failure::interrupted(&error.to_string()) } else { Failure::from(error) }
        })
    }
}

/// The settings of the command for a download.
struct Offer {
    timeout: Duration,
    offline: bool,
}

impl Offer {
    fn accept<'a>(self, download: Download<'a>) -> Download<'a> {
        let mut bar = Bar::to_stderr().counting("MB");
        let download = download.timeout(self.timeout).progress(move |now: &Progress| {
            let words = if now.of == 0 { now.stage.clone() } else { String::new() };
            bar.draw(now.done / 1_000_000, now.of.div_ceil(1_000_000), || words);
            if is_interrupted() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        if self.offline { download.offline(true) } else { download }
    }
}

fn list(report: &mut Report) {
    for network in Pretrained::ALL {
        let place = network.at_hand().map_or("not here".to_owned(), |path| path.display().to_string());
        report.say(format!("{:<18}  {:>6}  {}", network.name, megabytes(network), network.description));
        report.say(format!("    licence {}", network.licence));
        report.say(format!("    from {}", network.url()));
        report.say(format!("    {place}"));
    }
    report.set("networks", Pretrained::ALL.iter().map(described).collect::<Value>());
}

fn described(network: &Pretrained) -> Value {
    json!({
        "name": network.name,
        "description": network.description,
        "length": network.length,
        "licence": network.licence,
        "url": network.url(),
        "sha256": network.sha256,
        "path": network.at_hand().as_deref().map(Path::display).map(|path| path.to_string()),
    })
}

/// The size of a network's file, in words.
pub(crate) fn megabytes(network: &Pretrained) -> String {
    format!("{} MB", (network.length as f64 / 1e5).round() / 10.0)
}
