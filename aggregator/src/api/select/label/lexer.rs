//! Splits a label selector into symbols and words.

use std::fmt;

/// One piece of a selector. Blanks between pieces are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    End,
    Open,
    Close,
    Comma,
    Not,
    Equals,
    DoubleEquals,
    NotEquals,
    Greater,
    Less,
    /// A key, a value, `in` or `notin`: only its place tells which.
    Word(&'a str),
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::End => "",
            Self::Open => "(",
            Self::Close => ")",
            Self::Comma => ",",
            Self::Not => "!",
            Self::Equals => "=",
            Self::DoubleEquals => "==",
            Self::NotEquals => "!=",
            Self::Greater => ">",
            Self::Less => "<",
            Self::Word(word) => word,
        })
    }
}

/// The pieces of a text, one after the other; `End` forever after the last.
#[derive(Debug)]
pub(super) struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    /// The next piece without taking it.
    pub(super) fn peek(&self) -> Token<'a> {
        split(self.rest).0
    }

    /// Takes the next piece.
    pub(super) fn next(&mut self) -> Token<'a> {
        let (token, rest) = split(self.rest);
        self.rest = rest;
        token
    }
}

fn split(text: &str) -> (Token<'_>, &str) {
    /// Longer symbols first.
    const SYMBOLS: [(&str, Token<'static>); 9] = [
        ("==", Token::DoubleEquals),
        ("!=", Token::NotEquals),
        ("=", Token::Equals),
        ("!", Token::Not),
        ("(", Token::Open),
        (")", Token::Close),
        (",", Token::Comma),
        (">", Token::Greater),
        ("<", Token::Less),
    ];
    let text = text.trim_start_matches(is_blank);
    if text.is_empty() {
        return (Token::End, text);
    }
    for (symbol, token) in SYMBOLS {
        if let Some(rest) = text.strip_prefix(symbol) {
            return (token, rest);
        }
    }
    let end = text
        .find(|c| is_blank(c) || matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<'))
        .unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    (Token::Word(word), rest)
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}
