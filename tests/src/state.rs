//! The plugin's saved state, read and edited.
//!
//! It is JSON: `params` maps parameter ids to values, `fields` maps the names of what is persisted
//! beside them to JSON texts. CLAP hosts see it behind its length, eight bytes, little endian.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// A state that was saved by the plugin.
#[derive(Clone, Debug, PartialEq)]
pub struct State(Value);

impl State {
    /// Reads what [`crate::clap_host::Instance::save_state`] returned.
    ///
    /// # Errors
    /// If the length or the JSON is wrong.
    pub fn from_clap(bytes: &[u8]) -> Result<Self> {
        let (length, json) = bytes.split_first_chunk().context("a state shorter than its length field")?;
        ensure!(
            u64::from_le_bytes(*length) == json.len() as u64,
            "a state of {} bytes says it has {}",
            json.len(),
            u64::from_le_bytes(*length)
        );
        Ok(Self(serde_json::from_slice(json)?))
    }

    /// The bytes that [`crate::clap_host::Instance::load_state`] takes.
    pub fn to_clap(&self) -> Vec<u8> {
        let json = self.0.to_string().into_bytes();
        [&(json.len() as u64).to_le_bytes(), json.as_slice()].concat()
    }

    /// A persisted field, decoded.
    ///
    /// # Errors
    /// If the state has no such field or it is not JSON.
    pub fn field(&self, name: &str) -> Result<Value> {
        let text = self.0["fields"][name]
            .as_str()
            .with_context(|| format!("the state has no field `{name}`: {}", self.0))?;
        Ok(serde_json::from_str(text)?)
    }

    pub fn set_field(&mut self, name: &str, value: &Value) {
        self.0["fields"][name] = Value::String(value.to_string());
    }

    /// The texts of the eight query slots.
    ///
    /// # Errors
    /// If the field `queries` is not a list of eight texts.
    pub fn queries(&self) -> Result<Vec<String>> {
        let queries: Vec<String> = serde_json::from_value(self.field("queries")?)?;
        ensure!(queries.len() == 8, "{} query slots instead of 8", queries.len());
        Ok(queries)
    }

    /// This state with `text` in the query slot `slot`, 1–8.
    ///
    /// # Panics
    /// If the state has no such slot.
    pub fn with_query(mut self, slot: usize, text: &str) -> Self {
        let mut queries = self.queries().expect("the state holds queries");
        queries[slot - 1] = text.to_owned();
        self.set_field("queries", &queries.into());
        self
    }

    /// This state with the parameter `id` at its plain value `value`.
    pub fn with_parameter(mut self, id: &str, value: Value) -> Self {
        self.0["params"][id] = value;
        self
    }

    /// This state with the model package named `name` chosen.
    pub fn with_model(mut self, name: &str) -> Self {
        self.set_field("model", &name.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved() -> Vec<u8> {
        let json = r#"{"version":"0","params":{"strength":1.0},"fields":{"queries":"[\"a\",\"b\",\"c\",\"d\",\"e\",\"f\",\"g\",\"h\"]"}}"#;
        [&(json.len() as u64).to_le_bytes(), json.as_bytes()].concat()
    }

    #[test]
    fn an_edited_query_is_read_back() {
        let state = State::from_clap(&saved()).unwrap().with_query(8, "기타 소리 🎸 \"x\"");
        let read = State::from_clap(&state.to_clap()).unwrap();
        assert_eq!(read.queries().unwrap()[7], "기타 소리 🎸 \"x\"");
        assert_eq!(read.queries().unwrap()[0], "a");
    }

    #[test]
    fn a_cut_state_is_refused() {
        assert!(State::from_clap(&saved()[..40]).is_err());
        assert!(State::from_clap(&[1, 2]).is_err());
    }
}
