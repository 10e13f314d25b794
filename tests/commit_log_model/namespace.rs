//! A namespace with HDFS's semantics, small enough to be part of a model's state.

use std::collections::BTreeMap;

use outflow::error::Error;
use outflow::sinks::hdfs::log::{Call, Child, Outcome};

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Content {
    /// A log entry or a history file.
    Bytes(Vec<u8>),
    /// Records: the topic's generation, and offsets `[first, end)`.
    Records { topic: u8, first: i64, end: i64 },
    /// Somebody else's.
    Foreign,
}

/// A file or a folder. An open file is known by the name it was created under: it follows its folder.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Node {
    Folder,
    File {
        content: Content,
        is_closed: bool,
        created_as: String,
    },
}

/// What the driver's calls must never do, and do if the model says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Misuse {
    /// A rename replaces what is at its target.
    pub rename_overwrites: bool,
    /// A create makes missing parents.
    pub create_makes_parents: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Namespace {
    nodes: BTreeMap<String, Node>,
    /// Whether a committed file was ever overwritten.
    pub was_overwritten: bool,
}

/// How long a file is said to be.
pub fn bytes_of(content: &Content) -> u64 {
    match content {
        Content::Bytes(bytes) => bytes.len() as u64,
        Content::Records { first, end, .. } => 10 * (end - first) as u64,
        Content::Foreign => 10,
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

impl Namespace {
    pub fn with_base(base: &str) -> Self {
        let mut namespace = Namespace::default();
        namespace.nodes.insert(base.to_owned(), Node::Folder);
        namespace
    }

    pub fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    pub fn files(&self) -> impl Iterator<Item = (&str, &Content, bool)> {
        self.nodes.iter().filter_map(|(path, node)| match node {
            Node::File {
                content, is_closed, ..
            } => Some((path.as_str(), content, *is_closed)),
            Node::Folder => None,
        })
    }

    pub fn folders(&self) -> impl Iterator<Item = &str> {
        let folders = self.nodes.iter().filter(|(_, node)| **node == Node::Folder);
        folders.map(|(path, _)| path.as_str())
    }

    fn below<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = (&'a str, &'a Node)> {
        let from = format!("{folder}/");
        let is_below = move |path: &str| {
            path.strip_prefix(folder)
                .is_some_and(|p| p.starts_with('/'))
        };
        let rest = self
            .nodes
            .range(from..)
            .take_while(move |(path, _)| is_below(path));
        rest.map(|(path, node)| (path.as_str(), node))
    }

    pub fn is_empty_folder(&self, path: &str) -> bool {
        self.get(path) == Some(&Node::Folder) && self.below(path).next().is_none()
    }

    fn is_folder(&self, path: &str) -> bool {
        self.nodes.get(path) == Some(&Node::Folder)
    }

    fn make_dirs(&mut self, path: &str) {
        if !path.is_empty() && !self.nodes.contains_key(path) {
            self.make_dirs(parent(path));
            self.nodes.insert(path.to_owned(), Node::Folder);
        }
    }

    /// Creates a file; `Err` is what stood against it.
    pub fn create(
        &mut self,
        path: &str,
        content: Content,
        is_closed: bool,
        misuse: Misuse,
    ) -> Result<(), Outcome> {
        if self.nodes.contains_key(path) {
            return Err(Outcome::Exists);
        }
        if misuse.create_makes_parents {
            self.make_dirs(parent(path));
        }
        if !self.is_folder(parent(path)) {
            return Err(Outcome::NotFound);
        }
        let created_as = match is_closed {
            true => String::new(),
            false => path.rsplit('/').next().unwrap_or_default().to_owned(),
        };
        self.nodes.insert(
            path.to_owned(),
            Node::File {
                content,
                is_closed,
                created_as,
            },
        );
        Ok(())
    }

    /// Writes and closes the open file that was created under this name, wherever it is now.
    pub fn close(&mut self, name: &str, written: Content) -> bool {
        for node in self.nodes.values_mut() {
            if let Node::File {
                content,
                is_closed: is_closed @ false,
                created_as,
            } = node
                && created_as == name
            {
                *content = written;
                *is_closed = true;
                created_as.clear();
                return true;
            }
        }
        false
    }

    pub fn remove(&mut self, path: &str) -> Option<Node> {
        self.nodes.remove(path)
    }

    /// Answers a call that only reads.
    pub fn read(&self, call: &Call) -> Option<Outcome> {
        Some(match call {
            Call::List { path } if self.is_folder(path) => Outcome::Listed(self.children(path)),
            Call::Stat { path } => match self.get(path) {
                Some(Node::Folder) => Outcome::Found {
                    is_folder: true,
                    bytes: 0,
                },
                Some(Node::File { content, .. }) => Outcome::Found {
                    is_folder: false,
                    bytes: bytes_of(content),
                },
                None => Outcome::NotFound,
            },
            Call::Read { path } => match self.get(path) {
                Some(Node::File {
                    content: Content::Bytes(bytes),
                    ..
                }) => Outcome::Content(bytes.clone()),
                _ => Outcome::NotFound,
            },
            Call::List { .. } => Outcome::NotFound,
            _ => return None,
        })
    }

    /// Performs a call that changes something, in full.
    pub fn perform(&mut self, call: &Call, misuse: Misuse) -> Outcome {
        match call {
            Call::MakeDir { path, parents } => self.make_dir(path, *parents),
            Call::Create { path, content } => {
                let content = Content::Bytes(content.clone());
                self.create(path, content, true, misuse)
                    .err()
                    .unwrap_or(Outcome::Done)
            }
            Call::Rename { from, to } => self.rename(from, to, misuse),
            Call::Delete { path, tree } => self.delete(path, *tree),
            Call::List { .. } | Call::Stat { .. } | Call::Read { .. } => Outcome::NotFound,
        }
    }

    fn delete(&mut self, path: &str, tree: bool) -> Outcome {
        let below: Vec<String> = self.below(path).map(|(path, _)| path.to_owned()).collect();
        if !tree && !below.is_empty() {
            return Outcome::Refused(Error::unavailable("the folder isn't empty"));
        }
        below.iter().for_each(|path| _ = self.nodes.remove(path));
        self.nodes.remove(path);
        Outcome::Done
    }

    fn children(&self, folder: &str) -> Vec<Child> {
        let mut children = Vec::new();
        for (path, node) in self.below(folder) {
            let name = &path[folder.len() + 1..];
            if name.contains('/') {
                continue;
            }
            let (is_folder, bytes) = match node {
                Node::Folder => (true, 0),
                Node::File { content, .. } => (false, bytes_of(content)),
            };
            children.push(Child {
                name: name.to_owned(),
                is_folder,
                bytes,
            });
        }
        children
    }

    fn make_dir(&mut self, path: &str, parents: bool) -> Outcome {
        match self.get(path) {
            Some(Node::Folder) => return Outcome::Done,
            Some(Node::File { .. }) => return Outcome::Exists,
            None => {}
        }
        if !parents && !self.is_folder(parent(path)) {
            return Outcome::NotFound;
        }
        self.make_dirs(path);
        Outcome::Done
    }

    fn rename(&mut self, from: &str, to: &str, misuse: Misuse) -> Outcome {
        if !self.nodes.contains_key(from) {
            return Outcome::NotFound;
        }
        if self.nodes.contains_key(to) {
            if !misuse.rename_overwrites || self.is_folder(to) {
                return Outcome::Exists;
            }
            self.was_overwritten = true;
        }
        if !self.is_folder(parent(to)) {
            return Outcome::NotFound;
        }
        let moved: Vec<String> = self.below(from).map(|(path, _)| path.to_owned()).collect();
        for path in moved.iter().map(String::as_str).chain([from]) {
            if let Some(node) = self.nodes.remove(path) {
                self.nodes
                    .insert(format!("{to}{}", &path[from.len()..]), node);
            }
        }
        Outcome::Done
    }

    /// Performs a create only in part: the file is there, and nothing is in it.
    pub fn perform_in_part(&mut self, call: &Call, misuse: Misuse) {
        if let Call::Create { path, .. } = call {
            let _ = self.create(path, Content::Bytes(Vec::new()), false, misuse);
        }
    }
}
