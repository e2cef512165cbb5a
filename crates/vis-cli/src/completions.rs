//! Completions for shells.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::failure::Outcome;
use crate::{Arguments, report};

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CompletionsOptions {
    /// The shell
    shell: Shell,
}

const EXAMPLES: &str = "\
Examples:
  vis completions bash > ~/.local/share/bash-completion/completions/vis
  vis completions fish > ~/.config/fish/completions/vis.fish";

impl CompletionsOptions {
    pub(crate) fn run(self) -> Outcome {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Arguments::command(), "vis", &mut script);
        report::print(&script)
    }
}
