//! Checks JSON by the keywords of JSON Schema that our schemas use.

use serde_json::Value;

/// Checks a value by the keywords of JSON Schema 2020-12 that the document uses. A keyword that
/// is not known here is a fault, so that none is taken for checked.
pub fn fits(root: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let schema = schema.as_object().ok_or("a schema is no object")?;
    for (keyword, wanted) in schema {
        let parts = || wanted.as_array().into_iter().flatten();
        let fault = match keyword.as_str() {
            "$schema" | "$defs" | "title" | "description" | "format" => None,
            "$ref" => return fits(root, target(root, wanted), value),
            "type" => {
                let is = |kind: &Value| match kind.as_str() {
                    Some("object") => value.is_object(),
                    Some("array") => value.is_array(),
                    Some("string") => value.is_string(),
                    Some("boolean") => value.is_boolean(),
                    Some("null") => value.is_null(),
                    Some("integer") => value.is_i64() || value.is_u64(),
                    Some("number") => value.is_number(),
                    _ => false,
                };
                let is_any = is(wanted) || parts().any(is);
                (!is_any).then(|| format!("{value} is not of type {wanted}"))
            }
            "enum" => (!parts().any(|word| word == value))
                .then(|| format!("{value} is not one of {wanted}")),
            "const" => (value != wanted).then(|| format!("{value} is not {wanted}")),
            "minimum" => (value.is_number() && value.as_f64() < wanted.as_f64())
                .then(|| format!("{value} is below {wanted}")),
            "maximum" => (value.is_number() && value.as_f64() > wanted.as_f64())
                .then(|| format!("{value} is above {wanted}")),
            "anyOf" => (!parts().any(|way| fits(root, way, value).is_ok()))
                .then(|| format!("{value} fits none of {wanted}")),
            "items" => {
                for item in value.as_array().into_iter().flatten() {
                    fits(root, wanted, item)?;
                }
                None
            }
            "required" => parts()
                .filter_map(Value::as_str)
                .find(|name| value.get(name).is_none())
                .map(|name| format!("{name} is missing in {value}")),
            "properties" => {
                for (name, member) in value.as_object().into_iter().flatten() {
                    if let Some(schema) = wanted.get(name) {
                        fits(root, schema, member).map_err(|fault| format!("{name}: {fault}"))?;
                    }
                }
                None
            }
            "additionalProperties" => {
                let known = schema.get("properties");
                let is_known = |name: &str| known.is_some_and(|known| known.get(name).is_some());
                let mut names = value.as_object().into_iter().flat_map(|map| map.keys());
                names
                    .find(|name| !is_known(name))
                    .map(|name| format!("there is no such key as {name}"))
            }
            other => Some(format!("the checker does not know {other}")),
        };
        if let Some(fault) = fault {
            return Err(fault);
        }
    }
    Ok(())
}

pub fn target<'a>(root: &'a Value, reference: &Value) -> &'a Value {
    let pointer = reference.as_str().unwrap().trim_start_matches('#');
    root.pointer(pointer).unwrap_or_else(|| panic!("{pointer}"))
}
