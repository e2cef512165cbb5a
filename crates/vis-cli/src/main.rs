//! The command `vis`: what a convolutional network has learned and what it looks at, without writing Rust.
//!
//! Every command parses its options, refuses what can't work before the work begins, runs a front door of the
//! library, and writes its results whole or not at all.

mod activation;
mod asked;
mod bar;
mod cam;
mod class;
mod compare;
mod completions;
mod device;
mod dreams;
mod explain;
mod failure;
mod fetch;
mod filters;
mod host;
mod inspect;
mod judge;
mod limits;
mod memory;
mod network;
mod npy;
mod options;
mod output;
mod perturbation;
mod photo;
mod photo_report;
mod progress;
mod report;
mod saliency;
mod site;
mod stream;
mod style;
mod survey;

use std::ffi::OsStr;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::failure::{Failure, Outcome};

/// See what a convolutional network has learned and what it looks at.
#[derive(Debug, Parser)]
#[command(name = "vis", version, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  vis models
  vis fetch vgg19
  vis activation --model vgg16 --layer block5_conv3 --sample 16 --size 128 -o filters.png
  vis classify --image cat.jpg
  vis cam --image cat.jpg --class \"tabby\" -o cam.png
  vis compare --image cat.jpg -o panel.png
  vis dream --image sky.jpg -o dream.jpg
  vis survey --model vgg16 --images photos --layers block5_conv3 --out survey
  vis site survey --out site
  vis report cat.jpg --out cat.html

`vis COMMAND --help` says more about each. The bundled networks are in the program; files of the same names in the
folder that VIS_WEIGHTS names take their place. `vis fetch` gets others; no other command touches the network.";

#[derive(Debug, Subcommand)]
enum Command {
    /// List the networks
    Models(inspect::ModelsOptions),
    /// Fetch the weights of a network, or any file, and check it
    Fetch(fetch::FetchOptions),
    /// List the layers of a network
    Layers(inspect::LayersOptions),
    /// Say what a network sees in a photo
    Classify(inspect::ClassifyOptions),
    /// Make pictures that make filters fire
    Activation(activation::ActivationOptions),
    /// Show which pixels a class depends on
    Saliency(saliency::SaliencyOptions),
    /// Show which places of a layer speak for a class
    Cam(cam::CamOptions),
    /// Hide parts of a photo and show what is lost
    Occlusion(perturbation::OcclusionOptions),
    /// Hide random parts of a photo and show what matters
    Rise(perturbation::RiseOptions),
    /// Show every attribution method side by side
    Compare(compare::CompareOptions),
    /// Let a network dream into a photo
    Dream(dreams::DreamOptions),
    /// Exaggerate what a layer sees in a photo
    Caricature(dreams::CaricatureOptions),
    /// Show what a layer still knows of a photo
    Invert(dreams::InvertOptions),
    /// Repaint a photo in the manner of a painting
    Style(style::StyleOptions),
    /// Weave a texture from a sample
    Texture(style::TextureOptions),
    /// Find the images that excite each channel most
    Survey(survey::SurveyOptions),
    /// Make a static site of a survey
    Site(site::SiteOptions),
    /// Write one page on one photo: what the network sees and why
    Report(photo_report::ReportOptions),
    /// Print completions for a shell
    Completions(completions::CompletionsOptions),
}

fn main() -> ExitCode {
    report_bugs_in_one_line();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run() -> Outcome {
    // Otherwise -1 would be taken for an unknown option, and not for a number out of range.
    let command = Arguments::command().mut_subcommands(|command| command.allow_negative_numbers(true));
    let parsed = command.try_get_matches().and_then(|matches| Arguments::from_arg_matches(&matches));
    let arguments = match parsed {
        Ok(arguments) => arguments,
        Err(error) if !error.use_stderr() => return report::print(error.render().to_string().as_bytes()),
        Err(error) if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => error.exit(),
        Err(error) => return Err(Failure::from(error)),
    };
    progress::listen()?;
    match arguments.command {
        Command::Models(options) => options.run(),
        Command::Fetch(options) => options.run(),
        Command::Layers(options) => options.run(),
        Command::Classify(options) => options.run(),
        Command::Activation(options) => options.run(),
        Command::Saliency(options) => options.run(),
        Command::Cam(options) => options.run(),
        Command::Occlusion(options) => options.run(),
        Command::Rise(options) => options.run(),
        Command::Compare(options) => options.run(),
        Command::Dream(options) => options.run(),
        Command::Caricature(options) => options.run(),
        Command::Invert(options) => options.run(),
        Command::Style(options) => options.run(),
        Command::Texture(options) => options.run(),
        Command::Survey(options) => options.run(),
        Command::Site(options) => options.run(),
        Command::Report(options) => options.run(),
        Command::Completions(options) => options.run(),
    }
}

/// A panic is a bug in the program; people are told so in one line, developers set RUST_BACKTRACE.
fn report_bugs_in_one_line() {
    if !wants_backtraces(std::env::var_os("RUST_BACKTRACE").as_deref()) {
        std::panic::set_hook(Box::new(|bug| {
            let _ = Failure::new(format!("this is a bug in vis: {bug}")).report();
        }));
    }
}

/// As the standard library reads it: 0 is off.
fn wants_backtraces(value: Option<&OsStr>) -> bool {
    value.is_some_and(|value| value != "0")
}

#[cfg(test)]
mod tests {
    use super::wants_backtraces;

    #[test]
    fn backtraces_are_off_unless_asked_for() {
        for (value, wanted) in [(None, false), (Some("0"), false), (Some("1"), true), (Some("full"), true)] {
            assert_eq!(wants_backtraces(value.map(AsRef::as_ref)), wanted, "{value:?}");
        }
    }
}
