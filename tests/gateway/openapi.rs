//! The OpenAPI document beside what a running gateway answers.

use std::process::Command;

use serde_json::{Map, Value};

use crate::admin::asked;
use crate::guests::{Guest, denies};
use crate::harness::{Running, Server, Setup, eventually};

/// What a gateway answers to a process of its own, because the gateway's is not admitted.
struct Answered {
    status: String,
    content_type: String,
    /// Empty if it is a stream, which has no end.
    body: String,
}

impl Answered {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

fn ask(gateway: &Running, method: &str, path: &str, body: &str) -> Answered {
    let script = "import http.client, json, socket, sys\n\
        ask = http.client.HTTPConnection('x')\n\
        ask.sock = socket.socket(socket.AF_UNIX)\n\
        ask.sock.connect(sys.argv[1])\n\
        ask.request(sys.argv[2], sys.argv[3], sys.argv[4], {'Content-Type': 'application/json'})\n\
        answer = ask.getresponse()\n\
        kind = answer.headers['Content-Type']\n\
        print(json.dumps([str(answer.status), kind, '' if 'stream' in kind else answer.read().decode()]))";
    let output = Command::new("python3")
        .args(["-c", script])
        .arg(gateway.path("admin.sock"))
        .args([method, path, body])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let answered: Result<[String; 3], _> = serde_json::from_slice(&output.stdout);
    let [status, content_type, body] = answered.unwrap_or_else(|error| panic!("{method} {path}: {error}: {errors}"));
    Answered {
        status,
        content_type,
        body,
    }
}

fn administered() -> (Running, Value) {
    let gateway = Setup::allowing().tables("[admin]\nsocket = \"admin.sock\"\n").start();
    let document = ask(&gateway, "GET", "/v1/openapi.json", "");
    assert_eq!(
        (document.status.as_str(), document.content_type.as_str()),
        ("200", "application/json")
    );
    (gateway, document.json())
}

#[test]
fn every_answer_is_as_documented() {
    let (gateway, document) = administered();
    // Something of everything: a tunnel, a listener, a lock, and a shadow that decides otherwise.
    let target = Server::echo();
    let local = gateway.local(&target.address());
    let _open = local.connect();
    let _listening = gateway.remote(&format!("0:{}", target.address()));
    asked(&gateway, &["lock", "mallory", "--reason", "a test", "--for", "1h"]);
    let file = gateway.path("candidate.wasm");
    let refusing = Guest::that(denies("no")).version("2.0.0");
    std::fs::write(&file, refusing.build()).unwrap();
    asked(&gateway, &["policy", "shadow", "test", file.to_str().unwrap()]);
    let _other = local.connect();
    eventually("all of that", || {
        let some = |what: &str| asked(&gateway, &[what]) != Value::Array(Vec::new());
        let differs = asked(&gateway, &["policy", "differences", "test"])["different"] != 0;
        (some("tunnels") && some("listeners") && some("locks") && differs).then_some(())
    });

    let mut looked_at = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let Some(operation) = item.get("get") else { continue };
        let query = if path.ends_with("/diff") { "?from=1&to=1" } else { "" };
        let answered = ask(&gateway, "GET", &(path.replace("{plugin}", "test") + query), "");
        let said = &operation["responses"][answered.status.as_str()]["content"][answered.content_type.as_str()];
        assert!(
            answered.status == "200" && !said.is_null(),
            "{path}: {} {} {}",
            answered.status,
            answered.content_type,
            answered.body
        );
        if answered.content_type == "application/json" {
            let value = answered.json();
            assert!(
                value.is_object() || value.get(0).is_some(),
                "{path} shows nothing: {value}"
            );
            let faults = faults(&document, &said["schema"], &value, path);
            assert!(faults.is_empty(), "{faults:#?}");
        }
        looked_at.push(path.as_str());
    }
    assert!(looked_at.len() >= 13, "{looked_at:?}");
}

#[test]
fn every_error_is_as_documented() {
    let (gateway, document) = administered();
    #[rustfmt::skip]
    let table = [
        // method   path as documented                  path                            body                    status
        ("get",    "/v1/sessions",                      "/v1/sessions?target=x",        "",                     "400"),
        ("get",    "/v1/tunnels",                       "/v1/tunnels?colour=blue",      "",                     "400"),
        ("get",    "/v1/events",                        "/v1/events?action=dance",      "",                     "400"),
        ("post",   "/v1/close",                         "/v1/close",                    "{}",                   "400"),
        ("post",   "/v1/close",                         "/v1/close",                    "{\"colour\": 1}",      "422"),
        ("put",    "/v1/locks/{user}",                  "/v1/locks/mallory",            "{}",                   "400"),
        ("delete", "/v1/locks/{user}",                  "/v1/locks/unknown",            "",                     "404"),
        ("put",    "/v1/log-level",                     "/v1/log-level",                "{\"filter\": \"=\"}",  "400"),
        ("post",   "/v1/reload",                        "/v1/reload?dry_run=1",         "",                     "422"),
        ("post",   "/v1/drain",                         "/v1/drain",                    "{\"timeout\": true}",  "422"),
        ("get",    "/v1/policies/{plugin}",             "/v1/policies/none",            "",                     "404"),
        ("post",   "/v1/policies/{plugin}/load",        "/v1/policies/test/load",       "{\"component\": \"/nowhere.wasm\"}", "422"),
        ("post",   "/v1/policies/{plugin}/load",        "/v1/policies/test/load",       "{\"component\": \"x.wasm\"}", "400"),
        ("delete", "/v1/policies/{plugin}/shadow",      "/v1/policies/test/shadow",     "",                     "409"),
        ("post",   "/v1/policies/{plugin}/promote",     "/v1/policies/test/promote",    "",                     "409"),
        ("post",   "/v1/policies/{plugin}/confirm",     "/v1/policies/test/confirm",    "",                     "409"),
        // A dry run that is none would change what it was to show.
        ("post",   "/v1/policies/{plugin}/shadow",      "/v1/policies/test/shadow",     "{\"component\": \"/x.wasm\", \"dry_run\": true}", "422"),
        ("post",   "/v1/policies/{plugin}/promote",     "/v1/policies/test/promote",    "{\"dry_run\": true}", "422"),
        ("post",   "/v1/policies/{plugin}/confirm",     "/v1/policies/test/confirm",    "{\"to\": 1}",         "422"),
        ("post",   "/v1/policies/{plugin}/rollback",    "/v1/policies/test/rollback",   "{\"dry_run\": true}", "422"),
        ("post",   "/v1/policies/{plugin}/rollback",    "/v1/policies/none/rollback",   "",                     "404"),
        ("get",    "/v1/policies/{plugin}/differences", "/v1/policies/test/differences", "",                    "409"),
        ("get",    "/v1/policies/{plugin}/diff",        "/v1/policies/test/diff",       "",                     "400"),
        ("get",    "/v1/policies/{plugin}/diff",        "/v1/policies/test/diff?from=1&to=9", "",               "404"),
    ];
    let check = |said: &Value, asked: &str, answered: &Answered| {
        let schema = &resolved(&document, said)["content"]["application/json"]["schema"];
        assert!(
            !schema.is_null(),
            "{asked} {} is not documented: {}",
            answered.status,
            answered.body
        );
        let faults = faults(&document, schema, &answered.json(), asked);
        assert!(faults.is_empty(), "{faults:#?}");
    };
    for (method, documented, path, body, status) in table {
        let answered = ask(&gateway, &method.to_uppercase(), path, body);
        assert_eq!(answered.status, status, "{method} {path} {body}: {}", answered.body);
        let said = &document["paths"][documented][method]["responses"][status];
        check(said, path, &answered);
    }
    for (method, path, status) in [("PATCH", "/v1/status", "405"), ("GET", "/v1/nothing", "404")] {
        let answered = ask(&gateway, method, path, "");
        assert_eq!(answered.status, status, "{method} {path}");
        check(&document["components"]["responses"]["NotFound"], path, &answered);
    }
}

#[test]
fn a_value_that_is_not_as_documented_is_found() {
    let document = serde_json::json!({
        "one": { "type": "object", "required": ["a"], "properties": { "a": { "type": "string", "enum": ["x"] } } },
        "both": { "allOf": [{ "$ref": "#/one" }, { "type": "object", "properties": { "b": { "type": ["integer", "null"] } } }] },
        "list": { "type": "array", "items": { "$ref": "#/both" } },
        "map": { "type": "object", "additionalProperties": { "type": "boolean" } },
        "odd": { "type": "string", "pattern": "x" },
    });
    #[rustfmt::skip]
    let table = [
        ("one",  r#"{"a": "x"}"#, true),            ("one",  "{}", false),       ("one", r#"{"a": "y"}"#, false),
        ("one",  r#"{"a": "x", "b": 1}"#, false),   ("one",  "[]", false),       ("one", r#"{"a": null}"#, false),
        ("both", r#"{"a": "x", "b": null}"#, true), ("both", r#"{"a": "x", "b": 1.5}"#, false),
        ("list", r#"[{"a": "x", "b": 1}]"#, true),  ("list", r#"[{"b": 1}]"#, false),
        ("map",  r#"{"any": true}"#, true),         ("map",  r#"{"any": 1}"#, false), ("odd", r#""x""#, false),
    ];
    for (schema, value, fits) in table {
        let value = serde_json::from_str(value).unwrap();
        let faults = faults(&document, &document[schema], &value, "");
        assert_eq!(faults.is_empty(), fits, "{schema} {value}: {faults:?}");
    }
}

/// What does not fit, and where. It knows the part of JSON Schema that the document uses; any other word in it is a fault.
fn faults(document: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let schema = resolved(document, schema);
    let words = schema.as_object().into_iter().flat_map(Map::keys);
    let unknown = words.filter(|word| !KNOWN.contains(&word.as_str()));
    let mut found: Vec<_> = unknown
        .map(|word| format!("{at}: the test does not know `{word}`"))
        .collect();
    let types: Vec<&Value> = match &schema["type"] {
        Value::Array(types) => types.iter().collect(),
        Value::Null => Vec::new(),
        one => vec![one],
    };
    if !types.is_empty() && !types.iter().any(|one| is(one, value)) {
        found.push(format!("{at}: {value} is not of type {}", schema["type"]));
    }
    if let Some(words) = schema["enum"].as_array().filter(|words| !words.contains(value)) {
        found.push(format!("{at}: {value} is not one of {words:?}"));
    }
    if let (Some(items), Some(values)) = (schema.get("items"), value.as_array()) {
        let of = |(place, value)| faults(document, items, value, &format!("{at}/{place}"));
        found.extend(values.iter().enumerate().flat_map(of));
    }
    let is_object = schema["type"] == "object" || schema.get("allOf").is_some();
    match value.as_object().filter(|_| is_object) {
        Some(value) => found.extend(object_faults(document, schema, value, at)),
        None if schema.get("allOf").is_some() => found.push(format!("{at}: {value} is not an object")),
        None => {}
    }
    found
}

fn object_faults(document: &Value, schema: &Value, value: &Map<String, Value>, at: &str) -> Vec<String> {
    let parts: Vec<_> = parts(document, schema);
    let properties: Map<String, Value> = parts
        .iter()
        .filter_map(|part| part["properties"].as_object())
        .flat_map(Clone::clone)
        .collect();
    let required = parts.iter().filter_map(|part| part["required"].as_array()).flatten();
    let missing = required
        .filter_map(Value::as_str)
        .filter(|key| !value.contains_key(*key));
    let mut found: Vec<_> = missing.map(|key| format!("{at}/{key} is missing")).collect();
    for (key, value) in value {
        let at = format!("{at}/{key}");
        match properties.get(key).or(schema.get("additionalProperties")) {
            Some(schema) => found.extend(faults(document, schema, value, &at)),
            None => found.push(format!("{at} is not documented")),
        }
    }
    found
}

/// The schemas of which each says something of an object.
fn parts<'a>(document: &'a Value, schema: &'a Value) -> Vec<&'a Value> {
    let schema = resolved(document, schema);
    match schema["allOf"].as_array() {
        Some(all) => all.iter().flat_map(|one| parts(document, one)).collect(),
        None => vec![schema],
    }
}

fn resolved<'a>(document: &'a Value, said: &'a Value) -> &'a Value {
    match said["$ref"].as_str() {
        Some(place) => document.pointer(place.trim_start_matches('#')).unwrap(),
        None => said,
    }
}

fn is(of: &Value, value: &Value) -> bool {
    match of.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => false,
    }
}

const KNOWN: [&str; 11] = [
    "type",
    "properties",
    "required",
    "items",
    "enum",
    "allOf",
    "additionalProperties",
    "propertyNames",
    "description",
    "format",
    "minimum",
];
