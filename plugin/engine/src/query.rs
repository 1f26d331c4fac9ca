//! Queries: texts, the sounds they name, and their embeddings.

pub mod concepts;
pub mod encoder;
pub mod parts;
pub mod slots;
pub mod text;
pub mod tokenizer;
