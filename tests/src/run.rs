//! Runs programs and insists: a step that fails says the command and all it printed.

use std::ffi::OsStr;
use std::fmt;
use std::io::Write;
use std::process::{Command, Output, Stdio};

/// A program that could not be started or ended with an error.
#[derive(Debug)]
pub struct Failed {
    command: String,
    why: String,
    output: String,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, why, output } = self;
        write!(f, "`{command}`: {why}\n{output}")
    }
}

impl std::error::Error for Failed {}

/// The command as one would type it.
#[must_use]
pub fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let quoted = |word: &OsStr| {
        let word = word.to_string_lossy();
        if word.contains(char::is_whitespace) { format!("'{word}'") } else { word.into_owned() }
    };
    let words: Vec<_> = words.map(quoted).collect();
    words.join(" ")
}

/// Runs to the end and gives what it printed on standard output.
///
/// # Errors
/// When the program cannot be started or does not exit with zero.
pub fn attempt(command: &mut Command) -> Result<String, Failed> {
    let output = command.stdin(Stdio::null()).output();
    settle(command, output)
}

/// [`attempt`] with `input` on standard input.
///
/// # Errors
/// As [`attempt`].
pub fn attempt_with_input(command: &mut Command, input: &str) -> Result<String, Failed> {
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let output = child.and_then(|mut child| {
        if let Some(mut stdin) = child.stdin.take() {
            // A program that ends before it has read everything says why on its own.
            stdin.write_all(input.as_bytes()).ok();
        }
        child.wait_with_output()
    });
    settle(command, output)
}

/// [`attempt`], and a failure ends the test or the program with the command and its output.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    attempt(command).unwrap_or_else(|failed| panic!("{failed}"))
}

/// [`run`] with `input` on standard input.
#[track_caller]
pub fn run_with_input(command: &mut Command, input: &str) -> String {
    attempt_with_input(command, input).unwrap_or_else(|failed| panic!("{failed}\ninput:\n{input}"))
}

fn settle(command: &Command, output: std::io::Result<Output>) -> Result<String, Failed> {
    let failed = |why: String, output: String| Failed { command: line(command), why, output };
    let output = output.map_err(|error| failed(error.to_string(), String::new()))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    let said = text(&output.stdout) + &text(&output.stderr);
    Err(failed(output.status.to_string(), said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_command_says_itself_and_its_output() {
        let failed = attempt(Command::new("ls").arg("/does/not/exist")).unwrap_err();
        let said = failed.to_string();
        assert!(said.contains("`ls /does/not/exist`"), "{said}");
        assert!(said.contains("No such file"), "{said}");
    }

    #[test]
    fn a_program_that_does_not_exist_is_named() {
        let failed = attempt(&mut Command::new("no-such-program")).unwrap_err();
        assert!(failed.to_string().contains("no-such-program"));
    }

    #[test]
    fn input_reaches_the_program() {
        assert_eq!(run_with_input(&mut Command::new("cat"), "a word"), "a word");
    }
}
