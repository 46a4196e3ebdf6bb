//! `ensemble chord check`: whether the ring is one, and in order.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use super::crawl::Survey;
use super::invariant::{Finding, Weight, verify};
use super::{Ring, UNMET};
use crate::paint::{Colour, Palette};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(200);
/// The most evidence that is shown of one check.
const SHOWN: usize = 12;

/// Check that the ring is one, in order and whole; exit with 3 when it is not
///
/// Asks every node that can be found how it sees the ring, and checks Zave's invariant on that. A
/// warning is what a ring mends by itself.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ensemble chord check
  ensemble chord check --within 30
  ensemble chord check --strict --json")]
pub(super) struct Arguments {
    /// Look again for up to so many seconds, until it holds
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0, hide_default_value = true)]
    within: f64,
    /// Warnings count, too: the ring has come to rest
    #[arg(long)]
    strict: bool,
}

/// Looks, and prints what was seen the last time.
pub(super) async fn run(arguments: &Arguments, ring: &Ring) -> Result<ExitCode> {
    let Arguments { within, strict } = *arguments;
    ensure!((0.0..=86_400.0).contains(&within), "--within {within}: 0 to 86,400");
    let until = Instant::now() + Duration::from_secs_f64(within);
    let counts = |finding: &&Finding| match finding.weight {
        Weight::Invariant => true,
        Weight::Warning => strict,
        Weight::Note => false,
    };
    loop {
        let survey = Survey::take(ring).await;
        let findings = verify(&survey);
        let bad = findings.iter().filter(counts).filter(|finding| !finding.holds()).count();
        let good = bad == 0 && !findings.is_empty();
        let again = Instant::now() + PAUSE;
        if !good && again < until {
            sleep_until(again).await;
            continue;
        }
        if findings.is_empty() {
            return Err(match survey.silent().next() {
                Some((_, error)) => ring.explain("check", error),
                None => anyhow!("no node answers; start them: `ensemble up chord`"),
            });
        }
        let text = if ring.output.json {
            as_json(&findings)?
        } else {
            as_text(&findings, ring.output.palette)?
        };
        write!(io::stdout(), "{text}")?;
        return Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(UNMET) });
    }
}

fn as_json(findings: &[Finding]) -> Result<String> {
    let mut text = String::new();
    for finding in findings {
        let weight = match finding.weight {
            Weight::Invariant => "invariant",
            Weight::Warning => "warning",
            Weight::Note => "note",
        };
        let line = json!({
            "check": finding.name,
            "kind": weight,
            "holds": finding.holds(),
            "seen": finding.seen,
            "evidence": finding.evidence,
        });
        writeln!(text, "{line}")?;
    }
    Ok(text)
}

fn as_text(findings: &[Finding], palette: Palette) -> Result<String> {
    let mut text = String::new();
    for Finding { name, weight, seen, evidence } in findings {
        let (word, colour) = match weight {
            _ if evidence.is_empty() => ("ok", Colour::Green),
            Weight::Invariant => ("violated", Colour::Red),
            Weight::Warning => ("warning", Colour::Yellow),
            Weight::Note => ("note", Colour::Grey),
        };
        let gap = " ".repeat(10 - word.len());
        let seen = if seen.is_empty() || !evidence.is_empty() {
            String::new()
        } else {
            palette.paint(Colour::Grey, format!("  ({seen})"))
        };
        writeln!(text, "{}{gap}{name}{seen}", palette.paint(colour, word))?;
        for line in evidence.iter().take(SHOWN) {
            writeln!(text, "            {line}")?;
        }
        if evidence.len() > SHOWN {
            writeln!(text, "            and {} more", evidence.len() - SHOWN)?;
        }
    }
    Ok(text)
}
