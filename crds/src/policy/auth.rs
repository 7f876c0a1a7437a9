//! Who is let in: a union, which an upper layer replaces whole.

/// How a client proves that it may come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// It need not, whatever a lower layer says.
    None,
    /// By a user name and a password (RFC 7617).
    Basic(Basic),
    /// What is written cannot be kept: why its routes must answer 503.
    Unusable(String),
}

/// User names and passwords of a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Basic {
    /// A Secret in the object's namespace.
    pub secret: String,
    /// How it holds them.
    pub form: UsersForm,
    /// What a browser shows when it asks.
    pub realm: String,
    /// The field that names the Secret.
    pub field: String,
}

/// How a Secret holds users.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UsersForm {
    /// Its key `auth` is a file of htpasswd.
    #[default]
    File,
    /// Each key is a user name, its value the hash.
    Map,
}

/// The realm where none is said.
pub const REALM: &str = "Restricted";
