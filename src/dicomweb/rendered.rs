//! What the query of a rendered resource asks for: viewport, window, quality (PS3.18 section 8.3.5).

use crate::dicom::render::{Function, Viewport, Window, Wish};
use percent_encoding::percent_decode_str;

/// The longest side of a viewport, in pixels.
const LONGEST: u32 = 8192;
/// The quality of a JPEG where none is asked for.
const QUALITY: u8 = 90;

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendering {
    /// How the picture is made.
    pub wish: Wish,
    /// The quality of a lossy file, 1 to 100.
    pub quality: u8,
    /// Parameters that are read and not heeded, for a Warning header.
    pub unsupported: Vec<&'static str>,
}

/// A parameter that cannot be read; the answer is 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the parameter {0} is malformed: {1}")]
pub struct Malformed(&'static str, &'static str);

const VIEWPORT: Malformed = Malformed(
    "viewport",
    "write width,height or width,height,x,y,width,height, of 1 to 8192 pixels; any of the last four may be left empty",
);
const WINDOW: Malformed = Malformed(
    "window",
    "write center,width,function; the function is linear (also where it is left out), linear-exact or sigmoid",
);
const QUALITY_RANGE: Malformed = Malformed("quality", "write a number from 1 to 100");

/// Reads a query string. Parameters of others are ignored.
pub fn rendering(query: &str) -> Result<Rendering, Malformed> {
    let mut read = Rendering { wish: Wish::default(), quality: QUALITY, unsupported: Vec::new() };
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        let value = percent_decode_str(value).decode_utf8_lossy();
        match name {
            "viewport" => read.wish.viewport = Some(viewport(&value).ok_or(VIEWPORT)?),
            "window" => read.wish.window = Some(window(&value).ok_or(WINDOW)?),
            "quality" => {
                let quality = value.parse().ok().filter(|quality| (1..=100).contains(quality));
                read.quality = quality.ok_or(QUALITY_RANGE)?;
            }
            "annotation" if !value.is_empty() => read.unsupported.push("annotation"),
            "iccprofile" if value != "no" => read.unsupported.push("iccprofile"),
            _ => {}
        }
    }
    Ok(read)
}

fn viewport(text: &str) -> Option<Viewport> {
    let side = |text: &str| text.parse::<u32>().ok().filter(|side| (1..=LONGEST).contains(side));
    let place = |text: &str| text.parse::<f64>().ok().filter(|place| place.is_finite() && place.abs() < 1e6);
    let parts: Vec<&str> = text.split(',').collect();
    let ([width, height], region) = parts.split_first_chunk::<2>()?;
    let all = Viewport { width: side(width)?, height: side(height)?, region: None };
    if region.is_empty() {
        return Some(all);
    }
    // What is left out begins at the edge, and goes to the edge.
    let mut given = [0.0, 0.0, f64::INFINITY, f64::INFINITY];
    for (at, text) in region.iter().enumerate().filter(|(_, text)| !text.is_empty()) {
        *given.get_mut(at)? = place(text)?;
    }
    let some = region.len() <= given.len() && given[2] != 0.0 && given[3] != 0.0;
    some.then_some(Viewport { region: Some(given), ..all })
}

fn window(text: &str) -> Option<Window> {
    let mut words = text.split(',');
    let mut number = || words.next()?.parse::<f64>().ok();
    let (center, width) = (number()?, number()?);
    // Some write it as the attribute has it.
    let function = words.next().map(|name| name.to_ascii_lowercase().replace('_', "-"));
    let function = match function.as_deref() {
        None | Some("linear") => Function::Linear,
        Some("linear-exact") => Function::LinearExact,
        Some("sigmoid") => Function::Sigmoid,
        Some(_) => return None,
    };
    words.next().is_none().then(|| Window::new(center, width, function)).flatten()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read() {
        let read = rendering("viewport=512,256&window=40,400,linear&quality=70&x=1&annotation=patient").unwrap();
        assert_eq!(read.wish.viewport, Some(Viewport { width: 512, height: 256, region: None }));
        assert_eq!(read.wish.window, Window::new(40.0, 400.0, Function::Linear));
        assert_eq!((read.quality, read.unsupported), (70, vec!["annotation"]));
        let region = rendering("viewport=8%2C8%2C1%2C2%2C-3%2C4").unwrap().wish.viewport.unwrap().region;
        assert_eq!(region, Some([1.0, 2.0, -3.0, 4.0]));
        // What is left out begins at the edge and goes to the edge (PS3.18 section 8.3.5.1.3).
        let all = f64::INFINITY;
        for (text, want) in [
            ("512,512,,,256,256", [0.0, 0.0, 256.0, 256.0]),
            ("512,512,10", [10.0, 0.0, all, all]),
            ("512,512,10,20,", [10.0, 20.0, all, all]),
            ("512,512,,,,-5", [0.0, 0.0, all, -5.0]),
        ] {
            let region = rendering(&format!("viewport={text}")).unwrap().wish.viewport.unwrap().region;
            assert_eq!(region, Some(want), "{text}");
        }
        for (name, function) in [
            ("linear", Function::Linear),
            ("LINEAR_EXACT", Function::LinearExact),
            ("linear-exact", Function::LinearExact),
            ("Sigmoid", Function::Sigmoid),
        ] {
            let read = rendering(&format!("window=1,2,{name}")).unwrap().wish.window;
            assert_eq!(read, Window::new(1.0, 2.0, function), "{name}");
        }
        // Without a function it is the one that most objects mean.
        assert_eq!(rendering("window=1,2").unwrap().wish.window, Window::new(1.0, 2.0, Function::Linear));
        assert_eq!(rendering("").unwrap(), Rendering { wish: Wish::default(), quality: 90, unsupported: vec![] });
    }

    #[test]
    fn nonsense_is_refused() {
        let wrong = [
            "viewport=0,5",
            "viewport=5",
            "viewport=9000,5",
            "viewport=1,2,3,4,0,5",
            "viewport=1,2,a,4,5,5",
            "viewport=1,2,inf,1,1,1",
            "viewport=1,2,1,1,inf,1",
            "viewport=1,,1,1,1,1",
            "viewport=1,2,1,1,1,1,1",
            "viewport=1,2,,,,0",
            "window=1",
            "window=1,0",
            "window=1,2,",
            "window=a,b,linear",
            "window=1,2,cubic",
            "window=1,2,linear,3",
            "window=nan,5",
            "quality=0",
            "quality=101",
            "quality=x",
        ];
        for query in wrong {
            assert!(rendering(query).is_err(), "{query}");
        }
    }
}
