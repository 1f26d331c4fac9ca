//! Parser of requests: applies the phrases of a language from the beginning of a text to its end.

use super::language::{Kind, Language, Script, is_punctuation, is_separator};
use super::{EVERYTHING_ELSE, Request};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Polarity {
    Keep,
    LeaveOut,
}

impl Polarity {
    fn opposite(self) -> Self {
        match self {
            Polarity::Keep => Polarity::LeaveOut,
            Polarity::LeaveOut => Polarity::Keep,
        }
    }
}

/// Names of one clause, with what is asked of them.
#[derive(Default)]
struct Clause {
    polarity: Option<Polarity>,
    names: Vec<String>,
    /// Whether the names are what others are taken from.
    is_source: bool,
    /// Whether everything but the names is asked for, so that a verb at the end is about everything.
    is_exception: bool,
    /// Whether what follows in the clause tells nothing of sounds, such as a reason.
    is_aside: bool,
}

/// A text that is being parsed in one language.
pub struct Parser<'a> {
    language: &'a Language,
    request: Request,
    clause: Clause,
    /// Units of the name that is being read.
    name: Vec<String>,
    /// Names that others are taken from, until it is known whether those are kept.
    sources: Vec<String>,
    /// Names of the request that the last clause neither kept nor left out by a word.
    unasked: Vec<String>,
    /// Whether the clause has words that mean nothing by themselves, such as "take".
    has_frame: bool,
    /// Whether any word asked for something.
    has_operator: bool,
    /// Units that belong to the language.
    score: usize,
}

impl<'a> Parser<'a> {
    /// Parses a text.
    pub fn parse(language: &'a Language, text: &str) -> Self {
        let mut parser = Self {
            language,
            request: Request::default(),
            clause: Clause::default(),
            name: Vec::new(),
            sources: Vec::new(),
            unasked: Vec::new(),
            has_frame: false,
            has_operator: false,
            score: 0,
        };
        let units = language.units(text);
        let mut at = 0;
        while at < units.len() {
            at += parser.take(&units[at..]);
        }
        parser.end_clause();
        parser.finish();
        parser
    }

    /// Number of units of the text that belong to the language.
    pub fn score(&self) -> usize {
        self.score
    }

    pub fn into_request(self) -> Request {
        self.request
    }

    /// Takes the longest phrase that has an effect here, or else one unit of a name. Returns the number of units.
    fn take(&mut self, units: &[String]) -> usize {
        for (length, kinds) in self.language.phrases_at(units) {
            let (phrase, after) = units.split_at(length);
            if self.apply(&kinds, phrase, after) {
                self.score += length;
                let is_after = |kind: &Kind| matches!(kind, Kind::KeepAfter | Kind::LeaveOutAfter);
                // A space at the end of a phrase may begin the next one.
                let length = if length > 1 && units[length - 1] == " " { length - 1 } else { length };
                let is_verb = kinds.iter().all(is_after);
                return length + if is_verb { self.language.ending(&units[length - 1..]) } else { 0 };
            }
        }
        self.take_unit(&units[0]);
        1
    }

    /// Applies a phrase that is followed by `after`. Returns false if it is part of a name here.
    fn apply(&mut self, kinds: &[Kind], phrase: &[String], after: &[String]) -> bool {
        let is = |kind: Kind| kinds.contains(&kind);
        let has_name = self.has_clause_name();
        let ends_here = self.ends_before(after);
        let is_joined = self.language.script == Script::Joined;
        let is_complete = has_name && ends_here;
        // "Keep the birds and remove the traffic"; but in joined scripts the word may be a part of a longer one.
        let joins = !ends_here || !is_joined && !after.is_empty();
        let begins_name = (self.name.is_empty() || self.has_operator) && !is_complete;
        let is_after = |begins_too: bool| has_name && (ends_here || is_joined && !begins_too);
        // "Take the drums out", "drums out", but not "bells ringing out".
        let is_particle = is(Kind::LeaveOutParticle)
            && has_name
            && (self.has_frame || self.has_operator || ends_here && self.has_one_word());
        if is(Kind::Aside) && has_name {
            self.end_name();
            self.clause.is_aside = true;
        } else if self.clause.is_aside && !kinds.iter().any(Kind::asks) {
            // Dropped with the rest of the aside.
        } else if is(Kind::Protected) {
            // A space at the end is taken again.
            let taken = phrase.strip_suffix(&[" ".to_owned()]).unwrap_or(phrase);
            self.name.extend_from_slice(taken);
        } else if is(Kind::Source) && self.clause.polarity.is_some() && has_name {
            self.begin_clause(self.clause.polarity.map(Polarity::opposite));
            self.clause.is_source = true;
        } else if is(Kind::KeepAfter) && is_after(is(Kind::Keep)) {
            self.ask_of_names(Polarity::Keep);
        } else if is(Kind::LeaveOutAfter) && is_after(is(Kind::LeaveOut)) || is_particle {
            self.ask_of_names(Polarity::LeaveOut);
            self.clause.is_source = is(Kind::Source);
        } else if is(Kind::Keep) && !is_complete || is(Kind::KeepVerb) && begins_name {
            self.begin_clause(Some(Polarity::Keep));
        } else if is(Kind::LeaveOut) && !is_complete || is(Kind::LeaveOutVerb) && begins_name {
            self.begin_clause(Some(Polarity::LeaveOut));
        } else if is(Kind::EverythingBut) {
            let is_removed = self.clause.polarity == Some(Polarity::LeaveOut) && !has_name;
            self.begin_clause(Some(if is_removed { Polarity::Keep } else { Polarity::LeaveOut }));
            self.clause.is_exception = !is_removed;
        } else if is(Kind::Except) && (has_name || self.clause.polarity.is_some()) {
            self.begin_clause(Some(self.clause.polarity.unwrap_or(Polarity::Keep).opposite()));
        } else if is(Kind::SourceAfter) && has_name && !ends_here {
            self.end_name();
            self.drop_containers();
            self.sources.append(&mut self.clause.names);
        } else if is(Kind::Relative) && self.clause.polarity == Some(Polarity::LeaveOut) && has_name
            || is(Kind::But) && has_name
        {
            self.begin_clause(None);
        } else if (is(Kind::And) || is(Kind::With)) && has_name && joins {
            self.request.has_with |= is(Kind::With);
            self.end_name();
        } else if (is(Kind::And) || is(Kind::With)) && !has_name && self.has_names() {
            // Punctuation has separated the names: "(and drums)".
        } else if (is(Kind::KeepAfter) || is(Kind::LeaveOutAfter)) && !has_name {
            // There is no name that the verb could be about.
            return is_joined;
        } else {
            self.has_frame |= is(Kind::Frame) && self.name.is_empty();
            return is(Kind::Frame) && self.name.is_empty();
        }
        true
    }

    /// Whether no name follows in this sentence.
    fn ends_before(&self, mut after: &[String]) -> bool {
        loop {
            let Some(first) = after.first() else { return true };
            match self.language.phrases_at(after).first() {
                Some((length, kinds)) if kinds.contains(&Kind::Frame) => after = &after[*length..],
                Some((_, kinds)) => return !kinds.contains(&Kind::Protected),
                None if first == " " => after = &after[1..],
                None => return is_punctuation(first),
            }
        }
    }

    fn take_unit(&mut self, unit: &str) {
        // Lone Korean consonants and vowels are chat: "ㅠㅠ".
        let is_chat = |character: char| ('ㄱ'..='ㆎ').contains(&character);
        let is_of_word = |character: char| {
            !is_chat(character) && (character.is_alphanumeric() || " '-_/&ー々".contains(character))
        };
        if is_separator(unit) {
            self.end_name();
            self.clause.is_aside = false;
        } else if is_punctuation(unit) {
            // "Remove: drums".
            if unit != ":" || self.has_clause_name() {
                self.end_clause();
            }
        } else if self.clause.is_aside {
            // Dropped.
        } else if let Some(stem) = self.language.without_ending(unit) {
            self.begin_clause(Some(Polarity::LeaveOut));
            self.name.push(stem.to_owned());
            self.begin_clause(None);
        } else if unit.chars().all(is_of_word) && (unit != " " || !self.name.is_empty()) {
            // Quotation marks and pictures are dropped.
            self.score += usize::from(self.language.is_hint(unit));
            self.name.push(unit.to_owned());
        }
    }

    fn end_name(&mut self) {
        let (name, trimmed) = self.language.trim_name(&self.language.join(&std::mem::take(&mut self.name)));
        self.score += trimmed;
        if !name.is_empty() {
            self.clause.names.push(name);
        }
    }

    /// Whether the clause has one name so far, of one word.
    fn has_one_word(&self) -> bool {
        let (name, _) = self.language.trim_name(&self.language.join(&self.name));
        self.clause.names.is_empty() && !name.contains(' ')
    }

    fn has_clause_name(&self) -> bool {
        !self.name.is_empty() || !self.clause.names.is_empty()
    }

    fn has_names(&self) -> bool {
        !(self.request.keep.is_empty() && self.request.leave_out.is_empty())
    }

    /// Drops names of what sounds are taken from, such as "song".
    fn drop_containers(&mut self) {
        self.clause.names.retain(|name| !self.language.is_container(name));
    }

    /// Ends the clause and begins the next one, because a word asks for something.
    fn begin_clause(&mut self, polarity: Option<Polarity>) {
        self.end_clause();
        self.clause.polarity = polarity;
        self.has_operator = true;
    }

    /// Asks something of the names before.
    fn ask_of_names(&mut self, polarity: Polarity) {
        self.has_operator = true;
        self.end_name();
        // "Everything but the drums muted".
        let polarity = if self.clause.is_exception { polarity.opposite() } else { polarity };
        // "Keep the drums, the rest out": the verb at the end is about the last name.
        if self.clause.polarity == Some(polarity.opposite())
            && let Some(last) = self.clause.names.pop()
        {
            self.end_clause();
            self.clause.names.push(last);
        }
        self.clause.polarity = Some(polarity);
        self.end_clause();
    }

    /// Moves the clause's names into the request.
    fn end_clause(&mut self) {
        self.end_name();
        if self.clause.is_source {
            self.drop_containers();
        }
        let Clause { polarity, names, .. } = std::mem::take(&mut self.clause);
        self.has_frame = false;
        if names.is_empty() {
            return;
        }
        let are_pronouns = names.iter().all(|name| self.language.words.pronouns.contains(name));
        let unasked = std::mem::take(&mut self.unasked);
        if let Some(polarity) = polarity.filter(|_| are_pronouns && !unasked.is_empty()) {
            self.request.keep.retain(|name| !unasked.contains(name));
            self.push(polarity, unasked);
            return;
        }
        if polarity.is_none() {
            self.unasked.clone_from(&names);
        }
        let sources = std::mem::take(&mut self.sources);
        if let Some(polarity) = polarity {
            self.push(polarity.opposite(), sources);
        }
        self.push(polarity.unwrap_or(Polarity::Keep), names);
    }

    fn push(&mut self, polarity: Polarity, names: Vec<String>) {
        let list = match polarity {
            Polarity::Keep => &mut self.request.keep,
            Polarity::LeaveOut => &mut self.request.leave_out,
        };
        for name in names {
            if !list.contains(&name) {
                list.push(name);
            }
        }
    }

    /// Replaces the names of the rest, and drops those of the whole input if something else is asked for.
    fn finish(&mut self) {
        let words = &self.language.words;
        self.request.is_list = !self.has_operator;
        let Request { keep, leave_out, is_list, .. } = &mut self.request;
        for list in [&mut *keep, &mut *leave_out] {
            list.retain(|name| *is_list || !(words.generic.contains(name) || words.pronouns.contains(name)));
            list.iter_mut()
                .filter(|name| words.rest.contains(name))
                .for_each(|name| *name = EVERYTHING_ELSE.to_owned());
        }
        // Beside other names, it says what holds anyway.
        let is_rest = |list: &[String]| matches!(list, [name] if name == EVERYTHING_ELSE);
        if is_rest(leave_out) && !keep.is_empty() {
            leave_out.clear();
        }
        if is_rest(keep) && !leave_out.is_empty() {
            keep.clear();
        }
    }
}
