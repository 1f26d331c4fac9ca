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
    /// Whether the clause says something of the user, such as "I am a drummer": its names are not asked for.
    is_preamble: bool,
    /// Whether a verb and not a preposition asks.
    is_by_verb: bool,
    /// Whether the verb that asks was inverted.
    is_negated: bool,
    /// Number of names before a word such as "with".
    with_at: Option<usize>,
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
    /// Names that the last verb at the end of a clause was about.
    last_asked: Vec<String>,
    /// Names left out by an exception, until it is known what is asked of everything else.
    excepted: Vec<String>,
    /// Whether the next verb is inverted.
    is_negated: bool,
    /// Whether a word that begins with "-" is left out: not in a list of several lines.
    has_minus: bool,
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
            last_asked: Vec::new(),
            excepted: Vec::new(),
            is_negated: false,
            has_minus: language.script == Script::Spaced && !text.contains('\n'),
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
                let is_after =
                    |kind: &Kind| matches!(kind, Kind::KeepAfter | Kind::LeaveOutAfter | Kind::ExceptAfter);
                // A space at the end of a phrase may begin the next one.
                let length = if length > 1 && units[length - 1] == " " { length - 1 } else { length };
                if !kinds.iter().all(is_after) {
                    return length;
                }
                let ending = self.language.ending(&units[length - 1..]);
                let negation = self.language.negation_after(&units[length..], ending);
                if negation.is_some() {
                    self.invert_last();
                }
                return length + negation.unwrap_or(ending);
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
        let begins_name =
            (self.name.is_empty() || self.has_operator || self.clause.is_preamble) && !is_complete;
        let is_after = |begins_too: bool| has_name && (ends_here || is_joined && !begins_too);
        // "Take the drums out", "drums out", but not "bells ringing out".
        let is_particle = is(Kind::LeaveOutParticle)
            && has_name
            && (self.has_frame || self.has_operator || ends_here && self.has_one_word());
        let leaves_out = self.clause.polarity == Some(Polarity::LeaveOut);
        if is(Kind::Negation) && !self.clause.is_aside && self.inverts(kinds, after, has_name) {
            self.is_negated = true;
        } else if is(Kind::Negation) && self.clause.is_negated && !has_name {
            // "N'enlève pas": the verb is inverted already.
        } else if is(Kind::Negation) && leaves_out && self.clause.is_by_verb && !has_name {
            // "Entferne nicht".
            (self.clause.polarity, self.clause.is_negated) = (Some(Polarity::Keep), true);
        } else if is(Kind::Negation)
            && is(Kind::LeaveOut)
            && leaves_out
            && self.clause.is_by_verb
            && has_name
            && !ends_here
        {
            // "Remove the hum, not the voice".
            self.begin_clause(Some(Polarity::Keep));
        } else if is(Kind::Except) && !has_name && self.clause.polarity.is_none() && !ends_here && !is_joined
        {
            // "Everything (except drums)".
            self.begin_clause(Some(Polarity::LeaveOut));
        } else if is(Kind::Preamble) && !has_name && self.clause.polarity.is_none() {
            self.clause.is_preamble = true;
        } else if is(Kind::PreambleAfter) && has_name && !ends_here {
            self.clause.is_preamble = true;
            self.end_clause();
        } else if (is(Kind::LeaveOutAfter) || is(Kind::ExceptAfter)) && self.is_about_everything_else() {
            // "드럼 빼고 다 지워".
            (self.name, self.clause) = Default::default();
            self.last_asked = std::mem::take(&mut self.excepted);
            self.invert_last();
        } else if is(Kind::ExceptAfter) && is_after(false) {
            self.ask_of_names(Polarity::LeaveOut);
            self.excepted.clone_from(&self.last_asked);
        } else if is(Kind::Aside) && has_name {
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
            self.begin_verb(Polarity::Keep);
        } else if is(Kind::LeaveOut) && !is_complete || is(Kind::LeaveOutVerb) && begins_name {
            self.begin_verb(Polarity::LeaveOut);
            self.clause.is_by_verb = is(Kind::LeaveOutVerb);
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
            if is(Kind::With) {
                self.clause.with_at = Some(self.clause.names.len());
            }
        } else if !has_name && (is(Kind::With) || is(Kind::And) && self.has_names()) {
            // Nothing to join: "(and drums)", "with drums".
        } else if (is(Kind::KeepAfter) || is(Kind::LeaveOutAfter)) && !has_name {
            // There is no name that the verb could be about, or it is that before: "the dog is too loud, away with it".
            return is_joined || ends_here && !self.last_asked.is_empty();
        } else {
            self.has_frame |= is(Kind::Frame) && self.name.is_empty();
            return is(Kind::Frame) && self.name.is_empty();
        }
        true
    }

    /// Whether a negation inverts the verb that follows. A word that also leaves out inverts only verbs that do.
    fn inverts(&self, kinds: &[Kind], after: &[String], has_name: bool) -> bool {
        let is_joined = self.language.script == Script::Joined;
        let also_leaves_out = kinds.contains(&Kind::LeaveOut);
        let after = match after.first() {
            Some(unit) if unit == " " => &after[1..],
            _ => after,
        };
        let phrases = self.language.phrases_at(after);
        phrases.first().is_some_and(|(length, next)| {
            let is_inverted = |kind: &Kind| match kind {
                Kind::LeaveOutVerb => !has_name || !next.contains(&Kind::LeaveOutAfter),
                Kind::LeaveOut => is_joined && !next.contains(&Kind::Negation),
                Kind::Keep | Kind::KeepVerb => !also_leaves_out,
                Kind::LeaveOutAfter => has_name && !is_joined && self.ends_before(&after[*length..]),
                _ => false,
            };
            next.iter().any(is_inverted)
        })
    }

    /// Whether names were left out by an exception, and what follows only names everything.
    fn is_about_everything_else(&self) -> bool {
        let words = &self.language.words;
        let (name, _) = self.language.trim_name(&self.language.join(&self.name));
        let is_everything = |name: &String| words.generic.contains(name) || words.rest.contains(name);
        !self.excepted.is_empty()
            && (name.is_empty() || is_everything(&name))
            && self.clause.names.iter().all(is_everything)
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
        if is_separator(unit) && self.clause.is_preamble {
            self.end_clause();
        } else if is_separator(unit) {
            self.end_name();
            self.clause.is_aside = false;
        } else if is_punctuation(unit) {
            // "Remove: drums".
            if unit != ":" || self.has_clause_name() {
                self.end_clause();
            }
        } else if self.clause.is_aside {
            // Dropped.
        } else if let Some(name) = unit.strip_prefix('-').filter(|name| self.has_minus && !name.is_empty()) {
            self.begin_clause(Some(Polarity::LeaveOut));
            self.name.push(name.to_owned());
        } else if let Some(stem) = self.language.only_ending(unit) {
            self.score += 1;
            self.begin_clause(Some(Polarity::Keep));
            self.name.push(stem.to_owned());
        } else if let Some(stem) = self.language.without_ending(unit) {
            self.score += 1;
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
        let is_number = name.len() < 3 && name.bytes().all(|byte| byte.is_ascii_digit());
        let is_left_over = self.has_operator && self.language.is_article(&name);
        if !is_number && !is_left_over {
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

    /// Begins a clause by a verb or a preposition, which a negation may have inverted.
    fn begin_verb(&mut self, polarity: Polarity) {
        let is_negated = std::mem::take(&mut self.is_negated);
        self.begin_clause(Some(if is_negated { polarity.opposite() } else { polarity }));
        self.clause.is_negated = is_negated;
    }

    /// Asks something of the names before.
    fn ask_of_names(&mut self, polarity: Polarity) {
        self.has_operator = true;
        self.end_name();
        // "Speech with the music taken out": the verb at the end is about the music.
        if let (None, Some(at)) = (self.clause.polarity, self.clause.with_at)
            && (1..self.clause.names.len()).contains(&at)
        {
            let last = self.clause.names.split_off(at);
            self.end_clause();
            self.clause.names = last;
        }
        // "Everything but the drums muted", "the drums not removed".
        let is_inverted = self.clause.is_exception != std::mem::take(&mut self.is_negated);
        let polarity = if is_inverted { polarity.opposite() } else { polarity };
        // "Keep the drums, the rest out": the verb at the end is about the last name.
        if self.clause.polarity == Some(polarity.opposite())
            && let Some(last) = self.clause.names.pop()
        {
            self.end_clause();
            self.clause.names.push(last);
        }
        self.clause.polarity = Some(polarity);
        let asked = self.clause.names.clone();
        self.end_clause();
        self.last_asked = asked;
    }

    /// Inverts what the last verb at the end of a clause asked for: "빼지 마".
    fn invert_last(&mut self) {
        for name in std::mem::take(&mut self.last_asked) {
            let Request { keep, leave_out, .. } = &mut self.request;
            let polarity = if leave_out.contains(&name) { Polarity::Keep } else { Polarity::LeaveOut };
            keep.retain(|other| *other != name);
            leave_out.retain(|other| *other != name);
            self.push(polarity, vec![name]);
        }
    }

    /// Moves the clause's names into the request.
    fn end_clause(&mut self) {
        self.end_name();
        if self.clause.is_source {
            self.drop_containers();
        }
        let Clause { polarity, names, is_preamble, .. } = std::mem::take(&mut self.clause);
        self.has_frame = false;
        if names.is_empty() {
            return;
        }
        self.excepted.clear();
        if is_preamble && polarity.is_none() {
            // "I want to practice drums, so remove them".
            self.unasked = names;
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
