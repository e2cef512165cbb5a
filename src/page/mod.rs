//! Pages for a browser: a [`Site`] of what a survey found, and a [`Report`] on one photo.
//!
//! Both are plain HTML, CSS and a little JavaScript. They work from a folder, without a server, on a telephone, in the
//! light and in the dark, and ask no other host for anything. All text that comes from names of images, layers and classes
//! is escaped.

mod report;
mod site;

use std::io::Write;
use std::path::Path;

use image::RgbImage;
use minijinja::Environment;
use serde_json::Value;

use crate::picture::write_atomically;
use crate::{Error, Result};

pub use report::{Report, Reported};
pub use site::{Built, Site};

/// Pictures with shorter sides are drawn with every pixel as a square, and kept without loss.
const SMALL: u32 = 64;

/// The templates of all pages.
fn templates() -> Result<Environment<'static>> {
    // What ends in .html escapes what it is given.
    let mut environment = Environment::new();
    for (name, text) in [
        ("base.html", include_str!("templates/base.html")),
        ("parts.html", include_str!("templates/parts.html")),
        ("index.html", include_str!("templates/index.html")),
        ("layer.html", include_str!("templates/layer.html")),
        ("unit.html", include_str!("templates/unit.html")),
        ("image.html", include_str!("templates/image.html")),
        ("report.html", include_str!("templates/report.html")),
        ("style.css.html", include_str!("templates/style.css")),
    ] {
        environment.add_template(name, text).map_err(broken)?;
    }
    Ok(environment)
}

/// A page as text.
fn render(environment: &Environment<'_>, template: &str, context: &Value) -> Result<String> {
    let context = minijinja::Value::from(minijinja::value::Serde(context));
    environment.get_template(template).and_then(|template| template.render(context)).map_err(broken)
}

/// A template that does not fit what it is given, which no input can cause.
fn broken(error: minijinja::Error) -> Error {
    Error::invalid("a template", "one that can be filled in", format!("{error:#}"))
}

fn write_text(path: &Path, text: &str) -> Result<()> {
    write_atomically(path, |writer| writer.write_all(text.as_bytes()))
}

/// How a picture is drawn, as a class of CSS.
fn class_of(picture: &RgbImage) -> &'static str {
    if picture.width().min(picture.height()) < SMALL { "pixels" } else { "" }
}

/// The ending of the file for a picture.
fn ending_of(picture: &RgbImage) -> &'static str {
    if class_of(picture).is_empty() { "jpg" } else { "png" }
}

/// A number with three significant digits.
fn number(value: f64) -> String {
    let magnitude = value.abs();
    if !value.is_finite() || magnitude >= 1e6 {
        return format!("{value:.2e}");
    }
    if value == 0.0 {
        return "0".into();
    }
    if magnitude < 0.001 {
        return format!("{value:.1e}");
    }
    let digits = (2 - magnitude.log10().floor() as i32).clamp(0, 5) as usize;
    format!("{value:.digits$}")
}

/// A share from 0 to 1 in percent.
fn percent(share: f64) -> String {
    match 100.0 * share {
        0.0 => "0 %".into(),
        100.0 => "100 %".into(),
        percent if percent < 0.1 => "< 0.1 %".into(),
        percent if percent > 99.9 => "> 99.9 %".into(),
        percent => format!("{percent:.1} %"),
    }
}

/// A whole number with a space before each thousand.
fn count(number: u64) -> String {
    let digits = number.to_string();
    let parts: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|part| std::str::from_utf8(part).unwrap_or_default())
        .collect();
    parts.join("\u{202f}")
}

/// The fields of a value as its `Debug` writes them, `Name { field: value, … }`: names with spaces, and values.
fn fields(text: &str) -> Vec<(String, String)> {
    let inside = text.split_once('{').map_or(text, |(_, inside)| inside.trim_end().trim_end_matches('}'));
    let (mut depth, mut field, mut fields) = (0, String::new(), Vec::new());
    for character in inside.chars().chain([',']) {
        match character {
            '{' | '[' | '(' => depth += 1,
            '}' | ']' | ')' => depth -= 1,
            ',' if depth == 0 => {
                if let Some((name, value)) = field.split_once(':') {
                    fields.push((name.trim().replace('_', " "), value.trim().to_owned()));
                }
                field.clear();
                continue;
            }
            _ => {}
        }
        field.push(character);
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_say_what_they_are() {
        let shown: Vec<String> =
            [0.0, 1234.5, 12.345, 0.012_345, -3.0, 1e-7, 2.5e9].into_iter().map(number).collect();
        assert_eq!(shown, ["0", "1234", "12.3", "0.0123", "-3.00", "1.0e-7", "2.50e9"]);
        assert_eq!(
            [0.0, 0.0001, 0.5, 0.99999, 1.0].map(percent),
            ["0 %", "< 0.1 %", "50.0 %", "> 99.9 %", "100 %"]
        );
        assert_eq!([7, 1234, 50_000_000].map(count), ["7", "1\u{202f}234", "50\u{202f}000\u{202f}000"]);
    }

    #[test]
    fn settings_are_read_from_how_they_are_written() {
        #[derive(Debug)]
        #[allow(dead_code, reason = "written only")]
        struct Settings {
            max_iter: usize,
            prior: Option<(f32, f32)>,
            scales: Vec<f32>,
        }
        let settings = Settings { max_iter: 3, prior: Some((1.0, 2.0)), scales: vec![0.5, 1.0] };
        let read = fields(&format!("{settings:?}"));
        let expected = [("max iter", "3"), ("prior", "Some((1.0, 2.0))"), ("scales", "[0.5, 1.0]")];
        assert_eq!(read, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn whatever_a_name_holds_it_is_text_on_the_page() {
        let environment = templates().unwrap();
        let hostile = "</title><script>alert('&\"')</script>";
        let context = serde_json::json!({
            "root": "../", "site": { "title": hostile, "version": "0" }, "image": { "name": hostile, "alt": "\"onerror=\"x" },
            "predictions": [{ "name": hostile, "value": "1", "percent": 1 }], "crumbs": [],
        });
        let page = render(&environment, "image.html", &context).unwrap();
        assert!(!page.contains("<script>alert") && !page.contains("\"onerror=\"x"), "{page}");
        assert!(page.contains("&lt;script&gt;"), "{page}");
    }
}
