//! `sift understand`: what texts are understood as.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, Write};

use anyhow::{Context, Error, Result};
use serde_json::{Value, json};
use sift_engine::inference::library;
use sift_engine::{
    CancelToken, ConceptMatch, MAX_CHARACTERS, QueryEncoder, QueryText, Understanding, UnderstoodSound,
};

use crate::model_argument::ModelArgument;

/// Says what texts are understood as, without any audio
///
/// Each text is understood by itself, as in an instance without other texts.
#[derive(clap::Args)]
pub struct UnderstandArguments {
    /// Texts, such as "speech without music"; - reads one per line from standard input
    #[arg(required = true, value_name = "TEXT", value_parser = unmark_minus)]
    texts: Vec<String>,
    /// Write a line of JSON per text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    model: ModelArgument,
}

/// Puts a space before each text among `arguments` that begins with a minus sign, so that the parser takes it for no option.
///
/// `arguments` are those of the process. clap's own `allow_hyphen_values` would take the options behind a text for texts.
pub fn mark_minus(arguments: impl Iterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    let mut is_understand = false;
    arguments.enumerate().map(move |(index, argument)| {
        is_understand |= index == 1 && argument == "understand";
        let is_marked = argument.to_str().is_some_and(|text| {
            text.len() > 1 && text.starts_with('-') && !text.starts_with("--") && text != "-h"
        });
        match is_understand && is_marked {
            true => [OsStr::new(" "), &argument].into_iter().collect(),
            false => argument,
        }
    })
}

/// Undoes [`mark_minus`].
fn unmark_minus(text: &str) -> Result<String, Infallible> {
    Ok(text.strip_prefix(' ').filter(|text| text.starts_with('-')).unwrap_or(text).to_owned())
}

/// Runs the command, and writes a line per text to `out`.
///
/// # Errors
/// If a text is empty or too long, the model is invalid, or an input or output fails.
pub fn run(arguments: &UnderstandArguments, out: &mut impl Write) -> Result<()> {
    let package = arguments.model.choice()?.find()?.load()?;
    let environment = library::environment().map_err(|error| Error::msg(error.to_string()))?;
    let mut encoder = QueryEncoder::new(environment, &package, CancelToken::default())?;
    let mut write = |text: &str| -> Result<()> {
        let text = parse_query(text).map_err(Error::msg)?;
        let encoded = encoder.encode(&QueryText::from(&*text)).map_err(Error::msg);
        let understanding = encoded.with_context(|| format!("text {text:?}"))?.understanding;
        match arguments.json {
            true => writeln!(out, "{}", json!({"text": text, "understood": to_json(&understanding)}))?,
            false => writeln!(out, "{text}: {}", understanding.describe())?,
        }
        Ok(())
    };
    for text in &arguments.texts {
        if text != "-" {
            write(text)?;
            continue;
        }
        for line in io::stdin().lock().lines() {
            let line = line.context("standard input: cannot be read as UTF-8. Save the texts as UTF-8")?;
            if !line.trim().is_empty() {
                write(&line)?;
            }
        }
    }
    Ok(())
}

/// Checks the text of a query.
///
/// # Errors
/// If it is empty or longer than [`MAX_CHARACTERS`].
pub fn parse_query(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("the text is empty. Describe a sound, such as \"a dog barking\"".into());
    }
    let characters = text.chars().count();
    if characters > MAX_CHARACTERS {
        return Err(format!(
            "{characters} characters; expected at most {MAX_CHARACTERS}. Describe the sound more briefly"
        ));
    }
    Ok(text.to_owned())
}

/// Checks the text of a query that is the value of an option, as [`parse_query`] does.
///
/// # Errors
/// Also if it begins with two dashes: the value was forgotten, and the next option took its place.
pub fn parse_query_value(text: &str) -> Result<String, String> {
    if text.starts_with("--") {
        return Err("the text begins with two dashes, like an option. Describe a sound before it".into());
    }
    parse_query(text)
}

/// Returns the understanding as JSON, with two decimals of each closeness.
pub fn to_json(understanding: &Understanding) -> Value {
    let concepts = |matches: &[ConceptMatch]| -> Vec<_> {
        let concept = |concept: &ConceptMatch| {
            json!({
                "name": concept.name,
                "closeness": (100.0 * f64::from(concept.closeness)).round() / 100.0,
                "selected": concept.selected,
            })
        };
        matches.iter().map(concept).collect()
    };
    let sounds = |sounds: &[UnderstoodSound]| -> Vec<_> {
        let sound = |sound: &UnderstoodSound| {
            json!({
                "name": sound.name,
                "slip": sound.slip,
                "is_kind": sound.is_kind,
                "concepts": concepts(&sound.matches),
            })
        };
        sounds.iter().map(sound).collect()
    };
    let Understanding { keep, leave_out, unknown, problem } = understanding;
    let unknown: Vec<_> = unknown
        .iter()
        .map(|sound| json!({"name": sound.name, "nearest": concepts(&sound.nearest)}))
        .collect();
    json!({
        "description": understanding.describe(),
        "keep": sounds(keep),
        "leave_out": sounds(leave_out),
        "unknown": unknown,
        "problem": problem,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct TestCommand {
        #[command(flatten)]
        arguments: UnderstandArguments,
    }

    #[test]
    fn texts_may_begin_with_a_minus_sign() {
        let line = ["sift", "understand", "-drums", "vocals", "-the bass", "--json", "-"].map(OsString::from);
        let line = mark_minus(line.into_iter()).skip(1);
        let arguments = TestCommand::try_parse_from(line).unwrap().arguments;
        assert_eq!(arguments.texts, ["-drums", "vocals", "-the bass", "-"]);
        assert!(arguments.json);
    }

    #[test]
    fn arguments_of_other_commands_are_not_marked() {
        let line = ["sift", "render", "-song.wav", "understand"].map(OsString::from);
        assert_eq!(mark_minus(line.clone().into_iter()).collect::<Vec<_>>(), line);
    }

    #[test]
    fn text_has_1_to_256_characters() {
        for text in ["", " \t"] {
            assert!(parse_query(text).unwrap_err().contains("is empty"));
        }
        assert!(parse_query(&"말".repeat(257)).unwrap_err().contains("257 characters"));
        assert_eq!(parse_query("기타 소리 🎸").unwrap(), "기타 소리 🎸");
    }

    #[test]
    fn json_has_all_fields() {
        let concept = ConceptMatch { name: "speech".into(), closeness: 0.9333, selected: true };
        let sound =
            UnderstoodSound { name: "voice".into(), matches: vec![concept], ..UnderstoodSound::default() };
        let json = to_json(&Understanding { leave_out: vec![sound], ..Understanding::default() });
        assert_eq!(json["description"], "everything but speech 0.93");
        let concepts = json!([{"name": "speech", "closeness": 0.93, "selected": true}]);
        assert_eq!(
            json["leave_out"],
            json!([{"name": "voice", "slip": null, "is_kind": false, "concepts": concepts}])
        );
        assert_eq!(
            (&json["keep"], &json["unknown"], &json["problem"]),
            (&json!([]), &json!([]), &Value::Null)
        );
    }
}
