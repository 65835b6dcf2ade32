//! The system's name resolution, with an error of its own so that a name that is not found can be told from a refused connection.

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Asks the system anew for each connection (FLT-044).
pub(super) struct SystemResolver;

/// A name that could not be resolved.
#[derive(Debug, thiserror::Error)]
#[error("the name {name} cannot be resolved: {source}")]
pub(super) struct Unresolved {
    name: String,
    source: std::io::Error,
}

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str().to_owned();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await.map(Iterator::collect::<Vec<_>>);
            match found {
                Ok(addresses) => Ok(Box::new(addresses.into_iter()) as Addrs),
                Err(source) => Err(Unresolved { name, source }.into()),
            }
        })
    }
}
