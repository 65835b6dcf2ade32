//! Why each route did or did not choose, in plain words, for `weybridge routes explain`.

use super::{Condition, Objection, Route};
use crate::dicom::ae_title::AeTitle;
use crate::dicom::attributes::Level;
use crate::dicom::head::Head;
use crate::peers::{Destination, Origin};

/// What one route made of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// The route's name.
    pub route: String,
    /// Whether all of its conditions hold.
    pub matched: bool,
    /// The destinations that it chooses; not the party that the instance came from.
    pub to: Vec<Destination>,
    /// Why it matched, or the first condition that failed. Holds no patient's data.
    pub why: String,
}

/// Explains every route; the same rules as [`super::route`].
pub fn explain(routes: &[Route], head: &Head, origin: &Origin, called: Option<&AeTitle>) -> Vec<Explained> {
    routes.iter().map(|route| explain_one(route, head, origin, called)).collect()
}

fn explain_one(route: &Route, head: &Head, origin: &Origin, called: Option<&AeTitle>) -> Explained {
    let objection = route.objection(head, origin, called);
    let matched = objection.is_none();
    let why = match objection {
        None => because(route, origin, called),
        Some(objection) => objects(route, &objection, head, origin, called),
    };
    let to = route.to.iter().filter(|target| matched && target.destination.0 != origin.name());
    Explained { route: route.name.clone(), matched, to: to.map(|target| target.destination.clone()).collect(), why }
}

fn because(route: &Route, origin: &Origin, called: Option<&AeTitle>) -> String {
    let mut reasons = vec![match (origin, route.from.is_empty()) {
        (_, false) => format!("it comes from {}", origin.name()),
        (_, true) => format!("any node may send, and {} is one", origin.name()),
    }];
    if let (Some(called), false) = (called, route.called.is_empty()) {
        reasons.push(format!("{called} was called"));
    }
    for condition in &route.when {
        reasons.push(format!("{} matches", condition.attribute.name));
    }
    let sender = route.to.iter().any(|target| target.destination.0 == origin.name());
    let except = if sender { format!("; but nothing goes back to {}", origin.name()) } else { String::new() };
    format!("chosen: {}{except}", reasons.join(", "))
}

fn objects(route: &Route, objection: &Objection<'_>, head: &Head, origin: &Origin, called: Option<&AeTitle>) -> String {
    let origin = origin.name();
    match objection {
        Objection::Operator => "not consulted: sent by hand, it goes only where the operator says".into(),
        Objection::AskedFor => "not consulted: what was asked for goes to who asked".into(),
        Objection::PeerWithoutFrom => format!("passing on what {origin} pushed needs from = [\"{origin}\"]"),
        Objection::From => format!("it comes from {origin}, not from {}", list(&route.from)),
        Objection::Called => match called {
            Some(called) => format!("{called} was called, not {}", list(&route.called)),
            None => format!("no AE title was called, and it wants {}", list(&route.called)),
        },
        Objection::When(condition) => differs(condition, head),
    }
}

fn differs(condition: &Condition, head: &Head) -> String {
    let attribute = condition.attribute;
    let wanted: Vec<&str> = condition.any_of.iter().map(|pattern| pattern.as_str()).collect();
    // Free text and whatever describes the patient may tell who it is; codes and UIDs do not (SEC-010).
    let tells = attribute.level != Level::Patient && matches!(attribute.vr, "CS" | "UI");
    match head.attributes.text(attribute.tag) {
        None => format!("{} is absent", attribute.name),
        Some(text) if text.is_empty() => format!("{} is empty", attribute.name),
        Some(text) if tells => format!("{} is {text}, not {}", attribute.name, list(&wanted)),
        Some(_) => format!("{} does not match {}", attribute.name, list(&wanted)),
    }
}

fn list<T: std::fmt::Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
}
