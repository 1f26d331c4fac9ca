//! The plugin's saved state, read and edited.
//!
//! The state is JSON: `params` maps parameter ids to values, and `fields` maps the names of all other persisted
//! values to JSON texts. In CLAP its length precedes it: eight bytes, little endian.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// A state that the plugin has saved.
#[derive(Clone, Debug, PartialEq)]
pub struct State(Value);

impl State {
    /// Parses the bytes of [`crate::clap_host::Instance::save_state`].
    ///
    /// # Errors
    /// If the length or the JSON is wrong.
    pub fn from_clap(bytes: &[u8]) -> Result<Self> {
        let (length, json) =
            bytes.split_first_chunk().context("the state is shorter than its length field")?;
        ensure!(
            u64::from_le_bytes(*length) == json.len() as u64,
            "the state's length is {}; expected {}, the bytes that follow it",
            u64::from_le_bytes(*length),
            json.len()
        );
        Ok(Self(serde_json::from_slice(json)?))
    }

    /// The bytes that [`crate::clap_host::Instance::load_state`] takes.
    pub fn to_clap(&self) -> Vec<u8> {
        let json = self.0.to_string().into_bytes();
        [&(json.len() as u64).to_le_bytes(), json.as_slice()].concat()
    }

    /// The decoded value of a persisted field.
    ///
    /// # Errors
    /// If the state has no such field, or the field is not JSON.
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
        ensure!(queries.len() == 8, "the state has {} query slots; expected 8", queries.len());
        Ok(queries)
    }

    /// This state with `text` in the query slot `slot`, 1–8.
    ///
    /// # Panics
    /// If the state has no such slot.
    pub fn with_query(mut self, slot: usize, text: &str) -> Self {
        let mut queries = self.queries().expect("the state has the field `queries`");
        queries[slot - 1] = text.to_owned();
        self.set_field("queries", &queries.into());
        self
    }

    /// The ids of all parameters.
    ///
    /// # Panics
    /// If the state has none.
    pub fn parameter_ids(&self) -> Vec<String> {
        self.0["params"].as_object().expect("the state has parameters").keys().cloned().collect()
    }

    /// This state with the plain value `value` of the parameter `id`.
    pub fn with_parameter(mut self, id: &str, value: Value) -> Self {
        self.0["params"][id] = value;
        self
    }

    /// This state as saved by a version that did not have the parameter `id`.
    ///
    /// # Panics
    /// If the state has no such parameter.
    pub fn without_parameter(mut self, id: &str) -> Self {
        let removed = self.0["params"].as_object_mut().and_then(|params| params.remove(id));
        removed.unwrap_or_else(|| panic!("the state has no parameter `{id}`"));
        self
    }

    /// This state with the model package `name` selected.
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
    fn query_edited_in_a_state_is_read_back() {
        let state = State::from_clap(&saved()).unwrap().with_query(8, "기타 소리 🎸 \"x\"");
        let read = State::from_clap(&state.to_clap()).unwrap();
        assert_eq!(read.queries().unwrap()[7], "기타 소리 🎸 \"x\"");
        assert_eq!(read.queries().unwrap()[0], "a");
    }

    #[test]
    fn state_cut_short_is_an_error() {
        assert!(State::from_clap(&saved()[..40]).is_err());
        assert!(State::from_clap(&[1, 2]).is_err());
    }
}
