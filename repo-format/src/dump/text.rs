//! A dump as text for people: one field a line, what is nested indented, rows of lists on one line each.

use serde_json::{Map, Value};
use std::fmt::Write;

/// The text of what the other functions of this module return.
pub fn text(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(fields) => object(&mut out, fields, 0),
        other => line(&mut out, &scalar(other), 0),
    }
    out
}

fn line(out: &mut String, text: &str, depth: usize) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{:indent$}{text}", "", indent = depth * 2);
}

fn object(out: &mut String, fields: &Map<String, Value>, depth: usize) {
    let width = fields.keys().map(|name| name.chars().count()).max().unwrap_or(0).min(24);
    for (name, value) in fields {
        match value {
            Value::Object(below) if !below.is_empty() => {
                line(out, &format!("{name}:"), depth);
                object(out, below, depth + 1);
            }
            Value::Array(items) if items.is_empty() => line(out, &format!("{name:width$}  none"), depth),
            Value::Array(items) => {
                line(out, &format!("{name}:"), depth);
                items.iter().for_each(|item| list_item(out, item, depth + 1));
            }
            other => line(out, &format!("{name:width$}  {}", scalar(other)), depth),
        }
    }
}

fn list_item(out: &mut String, item: &Value, depth: usize) {
    match item {
        // A row of a table: short fields on one line.
        Value::Object(fields) if fields.values().all(|value| !value.is_object() && !value.is_array()) => {
            let row: Vec<String> = fields.iter().map(|(name, value)| format!("{name} {}", scalar(value))).collect();
            line(out, &format!("- {}", row.join(", ")), depth);
        }
        Value::Object(fields) => {
            line(out, "-", depth);
            object(out, fields, depth + 1);
        }
        other => line(out, &format!("- {}", scalar(other)), depth),
    }
}

/// Control characters of a name or label must not reach a terminal.
fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) if text.chars().any(char::is_control) => text.escape_debug().to_string(),
        Value::String(text) => text.clone(),
        Value::Null => "-".into(),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        other => other.to_string(),
    }
}
