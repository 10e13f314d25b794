//! The syntax of index templates and of the patterns that allow indices, as far as the configuration checks
//! them: a template is literal text, `{topic}`, and dates such as `{yyyy.MM.dd}`.

/// A template in its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Topic,
    Date(String),
}

/// Why a template is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongTemplate {
    /// What is wrong.
    pub what: String,
    /// The placeholder that is, if one is.
    pub placeholder: String,
}

fn wrong<T>(what: impl Into<String>, placeholder: &str) -> Result<T, WrongTemplate> {
    Err(WrongTemplate {
        what: what.into(),
        placeholder: placeholder.to_owned(),
    })
}

/// What no index name may hold.
const FORBIDDEN: &[char] = &['\\', '/', '*', '?', '"', '<', '>', '|', ' ', ',', '#', ':'];

impl Template {
    /// Reads a template.
    pub fn parse(text: &str) -> Result<Template, WrongTemplate> {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (literal, after) = match rest.split_once('{') {
                Some((literal, after)) => (literal, Some(after)),
                None => (rest, None),
            };
            if literal.contains('}') {
                return wrong("has a `}` without a `{`", "");
            }
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_owned()));
            }
            let Some(after) = after else { break };
            let Some((name, tail)) = after.split_once('}') else {
                return wrong("has a `{` without a `}`", "");
            };
            parts.push(placeholder(name)?);
            rest = tail;
        }
        check(&parts, text)?;
        Ok(Template { parts })
    }

    /// A name as it would be for `topic` on some day.
    pub fn sample(&self, topic: &str) -> String {
        self.fill(topic, |date| {
            date.replace("yyyy", "2026")
                .replace("MM", "11")
                .replace("dd", "23")
                .replace("HH", "04")
        })
    }

    /// The pattern that all names for `topic` match.
    pub fn pattern(&self, topic: &str) -> String {
        self.fill(topic, |_| "*".to_owned())
    }

    fn fill(&self, topic: &str, date: impl Fn(&str) -> String) -> String {
        self.parts
            .iter()
            .map(|part| match part {
                Part::Literal(text) => text.clone(),
                Part::Topic => topic.to_lowercase(),
                Part::Date(pattern) => date(pattern),
            })
            .collect()
    }
}

fn placeholder(name: &str) -> Result<Part, WrongTemplate> {
    if name == "topic" {
        return Ok(Part::Topic);
    }
    let mut rest = name;
    let mut fields = 0;
    while let Some(first) = rest.chars().next() {
        match ["yyyy", "MM", "dd", "HH"]
            .iter()
            .find_map(|field| rest.strip_prefix(field))
        {
            Some(tail) => {
                fields += 1;
                rest = tail;
            }
            None if matches!(first, '.' | '-' | '_') => rest = &rest[1..],
            None => fields = -1_000,
        }
        if fields < 0 {
            break;
        }
    }
    if fields < 1 {
        let shown = super::problem::printable(name);
        return wrong(
            format!("has a placeholder {{{shown}}} that means nothing"),
            name,
        );
    }
    Ok(Part::Date(name.to_owned()))
}

fn check(parts: &[Part], text: &str) -> Result<(), WrongTemplate> {
    for part in parts {
        let Part::Literal(literal) = part else {
            continue;
        };
        if let Some(c) = literal
            .chars()
            .find(|c| FORBIDDEN.contains(c) || c.is_control())
        {
            return wrong(format!("has {c:?} in it, which no index name may have"), "");
        }
        if literal.chars().any(char::is_uppercase) {
            return wrong("has capitals in it, and index names are in lower case", "");
        }
    }
    match parts.first() {
        Some(Part::Literal(literal)) if literal.starts_with(['-', '_', '+', '.']) => wrong(
            "begins with `-`, `_`, `+` or `.`, which is for Elasticsearch's own indices",
            "",
        ),
        _ if text.len() > 255 => wrong("is longer than 255 bytes", ""),
        _ => Ok(()),
    }
}

/// What is wrong with a pattern, if anything.
pub fn wrong_pattern(pattern: &str) -> Option<&'static str> {
    if pattern.is_empty() {
        Some("is empty")
    } else if pattern.chars().any(char::is_uppercase) {
        Some("has capitals in it, and index names are in lower case")
    } else if pattern
        .chars()
        .any(|c| c != '*' && (FORBIDDEN.contains(&c) || c.is_control()))
    {
        Some("has a character in it that no index name may have")
    } else if pattern.starts_with(['-', '_', '+']) {
        Some("begins with a character that no index name begins with")
    } else {
        None
    }
}

/// Whether `name` matches `pattern`, where `*` is any run of characters.
pub fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}
