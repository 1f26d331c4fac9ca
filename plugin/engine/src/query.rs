//! Queries: texts, the sounds they name, and their embeddings.

pub mod concepts;
pub mod dictionary;
pub mod encoder;
pub mod names;
pub mod parts;
pub mod request;
pub mod slots;
pub mod text;
pub mod tokenizer;
pub mod understanding;
