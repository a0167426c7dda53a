//! `http:invoke` and `apigateway:invoke`: what goes out, what comes back, and what is refused.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use expressway::runtime::Status;
use expressway::task::aws::{Connections, HttpPolicy, Integrations};
use serde_json::{Value, json};

use crate::server::{Asked, Says, Server, answer};
use crate::{failure, output, run};

const INVOKE: &str = "arn:aws:states:::http:invoke";
const GATEWAY: &str = "arn:aws:states:::apigateway:invoke";

fn allowing(server: &Server) -> HttpPolicy {
    HttpPolicy { allowed_hosts: vec![server.address.to_string()], ..HttpPolicy::default() }
}

fn invoke(server: &Server, parameters: &Value) -> expressway::runtime::Outcome {
    let mut parameters = parameters.clone();
    let path = parameters["ApiEndpoint"].as_str().unwrap_or_default();
    parameters["ApiEndpoint"] = json!(format!("{}{path}", server.url()));
    run(Integrations::new().http(allowing(server)), INVOKE, &parameters)
}

fn asked(parameters: &Value) -> Asked {
    let server = Server::saying(answer(200, &[], "{}"));
    output(&invoke(&server, parameters));
    server.asked.recv().expect("a request")
}

#[test]
fn requests_are_what_parameters_say() {
    let asked = asked(&json!({
        "ApiEndpoint": "/v1/orders/?fixed=1", "Method": "POST",
        "Headers": {"X-Trace": "t", "User-Agent": "me"},
        "QueryParameters": {"q": "a b&c", "tags": ["x", "y"]},
        "RequestBody": {"id": 7, "deep": [1, {"a": null}]},
    }));
    assert_eq!(asked.method, "POST");
    assert_eq!(asked.target, "/v1/orders/?fixed=1&q=a%20b%26c&tags=x&tags=y");
    assert_eq!(asked.text(), r#"{"id":7,"deep":[1,{"a":null}]}"#);
    assert_eq!(asked.headers["content-type"], "application/json");
    assert_eq!(asked.headers["x-trace"], "t");
    assert_eq!(asked.headers["user-agent"], "Amazon|StepFunctions|HttpInvoke|us-east-1");
    assert_eq!(asked.headers["range"], "bytes=0-262144");
}

#[test]
fn bodies_are_url_encoded_where_asked() {
    let body = json!({"a": [1, 2], "b": {"c": "d e"}, "f": true});
    for (format, expected) in [
        (None, "a%5B0%5D=1&a%5B1%5D=2&b%5Bc%5D=d%20e&f=true"),
        (Some("INDICES"), "a%5B0%5D=1&a%5B1%5D=2&b%5Bc%5D=d%20e&f=true"),
        (Some("REPEAT"), "a=1&a=2&b%5Bc%5D=d%20e&f=true"),
        (Some("COMMAS"), "a=1%2C2&b%5Bc%5D=d%20e&f=true"),
        (Some("BRACKETS"), "a%5B%5D=1&a%5B%5D=2&b%5Bc%5D=d%20e&f=true"),
    ] {
        let mut transform = json!({"RequestBodyEncoding": "URL_ENCODED"});
        if let Some(format) = format {
            transform["RequestEncodingOptions"] = json!({"ArrayFormat": format});
        }
        let asked = asked(
            &json!({"ApiEndpoint": "/", "Method": "POST", "RequestBody": body, "Transform": transform}),
        );
        assert_eq!(asked.text(), expected, "{format:?}");
        assert_eq!(asked.headers["content-type"], "application/x-www-form-urlencoded");
    }
}

#[test]
fn answers_become_results() {
    for (kind, body, expected) in [
        ("application/json; charset=utf-8", r#"{"a": [1]}"#, json!({"a": [1]})),
        ("application/problem+json", "7", json!(7)),
        ("text/plain", "{\"a\": 1}", json!("{\"a\": 1}")),
        ("text/html", "<p>\"ä\"</p>", json!("<p>\"ä\"</p>")),
        // A body with a JSON content type may not be JSON.
        ("application/json", "}, \"x\": {", json!("}, \"x\": {")),
    ] {
        let server = Server::saying(answer(200, &[("Content-Type", kind), ("X-A", "1"), ("X-A", "2")], body));
        let outcome = invoke(&server, &json!({"ApiEndpoint": "/", "Method": "GET"}));
        assert_eq!(
            output(&outcome),
            json!({
                "Headers": {"content-length": [body.len().to_string()], "content-type": [kind], "x-a": ["1", "2"]},
                "ResponseBody": expected, "StatusCode": 200, "StatusText": "OK",
            })
        );
    }
    let server = Server::saying(answer(200, &[("Content-Type", "image/png")], "x"));
    assert_eq!(failure(&invoke(&server, &json!({"ApiEndpoint": "/", "Method": "GET"}))).0, "States.Runtime");
}

#[test]
fn failures_have_their_names() {
    let get = json!({"ApiEndpoint": "/", "Method": "GET"});
    let server = Server::saying(answer(404, &[], "no such thing"));
    let expected = ("States.Http.StatusCode.404".to_owned(), "no such thing".to_owned());
    assert_eq!(failure(&invoke(&server, &get)), expected);

    let server = Server::saying(Says::HangUp);
    assert_eq!(failure(&invoke(&server, &get)).0, "States.Http.Socket");

    let server = Server::saying(Says::Raw(b"this is not HTTP\r\n\r\n".to_vec()));
    assert_eq!(failure(&invoke(&server, &get)).0, "States.Http.Socket");

    let server = Server::saying(answer(200, &[], "x".repeat(300_000)));
    let (error, cause) = failure(&invoke(&server, &get));
    assert_eq!(error, "States.DataLimitExceeded");
    assert!(cause.starts_with("The state/task 'http' returned a result with a size exceeding"), "{cause}");

    let server = Server::saying(Says::Nothing);
    let policy = HttpPolicy { timeout: Duration::from_secs(1), ..allowing(&server) };
    let parameters = json!({"ApiEndpoint": server.url(), "Method": "GET"});
    let outcome = run(Integrations::new().http(policy), INVOKE, &parameters);
    assert_eq!(failure(&outcome).0, "States.Http.Socket");
    server.hung_up.recv().expect("the connection is closed");
}

#[test]
fn addresses_behind_the_wall_are_refused() {
    let server = Server::saying(answer(200, &[], "{}"));
    let port = server.address.port();
    for host in [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "169.254.169.254",
        "10.0.0.1",
        "192.168.0.1",
        "172.16.0.1",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "2130706433",
        "0x7f.1",
    ] {
        for scheme in ["http", "https"] {
            let parameters = json!({"ApiEndpoint": format!("{scheme}://{host}:{port}/"), "Method": "GET"});
            let (error, cause) = failure(&run(Integrations::new(), INVOKE, &parameters));
            // Odd forms of numbers may be no address at all.
            assert!(matches!(&*error, "States.Runtime" | "States.Http.Socket"), "{host}: {error}: {cause}");
        }
    }
    // Allowed is only what was allowed.
    let other = HttpPolicy { allowed_hosts: vec!["127.0.0.1:1".to_owned()], ..HttpPolicy::default() };
    let parameters = json!({"ApiEndpoint": server.url(), "Method": "GET"});
    assert_eq!(failure(&run(Integrations::new().http(other), INVOKE, &parameters)).0, "States.Runtime");
    let gateway = json!({"ApiEndpoint": server.address.to_string(), "Method": "GET"});
    assert_eq!(failure(&run(Integrations::new(), GATEWAY, &gateway)).0, "States.Runtime");
    assert!(server.asked.try_recv().is_err(), "nobody was asked");

    let all = HttpPolicy { allow_all: true, ..HttpPolicy::default() };
    output(&run(Integrations::new().http(all), INVOKE, &parameters));
}

#[test]
fn redirects_stay_on_their_host() {
    let elsewhere = Server::saying(answer(200, &[], "{}"));
    let location = elsewhere.url();
    let server = Server::start(move |asked| match &*asked.target {
        "/away" => answer(302, &[("Location", &*format!("{location}/x"))], ""),
        "/twice" => answer(307, &[("Location", "/here?a=1")], ""),
        "/form" => answer(302, &[("Location", "/here")], ""),
        "/slashes" => answer(302, &[("Location", &*format!("//{}/", location.replace("http://", "")))], ""),
        "/round" => answer(301, &[("Location", "/round")], ""),
        _ => answer(200, &[], format!("{:?}", (&asked.method, &asked.target, asked.text()))),
    });
    let body = |path: &str| {
        let parameters = json!({"ApiEndpoint": path, "Method": "POST", "RequestBody": 1});
        output(&invoke(&server, &parameters))["ResponseBody"].clone()
    };
    assert_eq!(body("/twice"), json!(r#"("POST", "/here?a=1", "1")"#));
    assert_eq!(body("/form"), json!(r#"("GET", "/here", "")"#));
    let error = |path: &str| failure(&invoke(&server, &json!({"ApiEndpoint": path, "Method": "GET"}))).0;
    assert_eq!(error("/away"), "States.Http.StatusCode.302");
    assert_eq!(error("/slashes"), "States.Http.StatusCode.302");
    assert_eq!(error("/round"), "States.Http.Socket");
    assert!(elsewhere.asked.try_recv().is_err(), "nobody was asked elsewhere");
}

#[test]
fn parameters_that_cannot_be_used_are_refused() {
    let server = Server::saying(answer(200, &[], "{}"));
    for (name, value, why) in [
        ("Method", json!("BREW"), "The value of the field 'Method' has an invalid format"),
        ("Headers", json!([]), "The value of the field 'Headers' has an invalid format"),
        (
            "Headers",
            json!({"Transfer-Encoding": "chunked"}),
            "The 'Headers' field contains unsupported values: [transfer-encoding]",
        ),
        (
            "Headers",
            json!({"x-amz-date": "x"}),
            "The 'Headers' field contains unsupported values: [x-amz-date]",
        ),
        (
            "Headers",
            json!({"Authorization": "x"}),
            "The 'Headers' field contains unsupported values: [authorization]",
        ),
        ("Headers", json!({"a": "b\r\nc: d"}), "The value of the field 'Headers' has an invalid format"),
        ("Body", json!(1), "The field \"Body\" is not supported by Step Functions"),
        ("ApiEndpoint", json!("/a b"), "The value of the field 'ApiEndpoint' has an invalid format"),
    ] {
        let mut parameters = json!({"ApiEndpoint": "/", "Method": "GET"});
        parameters[name] = value;
        let (error, cause) = failure(&invoke(&server, &parameters));
        assert_eq!(error, "States.Runtime", "{cause}");
        assert!(cause.ends_with(&format!(" could not be used to start the Task: [{why}]")), "{cause}");
    }
    let named = json!({"ApiEndpoint": "http://user@127.0.0.1/", "Method": "GET"});
    assert_eq!(failure(&run(Integrations::new(), INVOKE, &named)).0, "States.Runtime");
    assert!(server.asked.try_recv().is_err(), "nobody was asked");
}

#[test]
fn connections_prove_who_asks() {
    let arn = |name: &str| format!("arn:aws:events:us-east-1:123456789012:connection/{name}/1");
    let file = json!({
        arn("basic"): {"AuthorizationType": "BASIC",
            "AuthParameters": {"BasicAuthParameters": {"Username": "me", "Password": "secret"}}},
        arn("key"): {"AuthorizationType": "API_KEY", "AuthParameters": {
            "ApiKeyAuthParameters": {"ApiKeyName": "X-Key", "ApiKeyValue": "k"},
            "InvocationHttpParameters": {
                "HeaderParameters": [{"Key": "X-Mine", "Value": "connection", "IsValueSecret": false}],
                "QueryStringParameters": [{"Key": "q", "Value": "1"}],
                "BodyParameters": [{"Key": "b", "Value": "connection"}]}}},
    });
    let connections = Connections::parse(file.to_string().as_bytes()).expect("connections");
    assert!(!format!("{connections:?}").contains("c2VjcmV0"), "secrets are not shown");
    let server = Server::saying(answer(200, &[], "{}"));
    let call = |name: &str| {
        let parameters = json!({"ApiEndpoint": server.url(), "Method": "POST",
            "Authentication": {"ConnectionArn": arn(name)},
            "Headers": {"X-Mine": "task"}, "RequestBody": {"a": 1, "b": "task"}});
        run(Integrations::new().http(allowing(&server)).connections(connections.clone()), INVOKE, &parameters)
    };
    output(&call("basic"));
    assert_eq!(server.asked.recv().expect("a request").headers["authorization"], "Basic bWU6c2VjcmV0");
    output(&call("key"));
    let asked = server.asked.recv().expect("a request");
    assert_eq!((&*asked.headers["x-key"], &*asked.headers["x-mine"]), ("k", "connection"));
    assert_eq!((&*asked.target, asked.text()), ("/?q=1", r#"{"a":1,"b":"connection"}"#));
    let (error, cause) = failure(&call("unknown"));
    assert_eq!(error, "Events.ConnectionResource.ResourceNotFound");
    assert!(cause.contains(&arn("unknown")), "{cause}");

    for wrong in [
        json!([]),
        json!({"a": {"AuthorizationType": "BASIC", "AuthParameters": {}}}),
        json!({"a": {"AuthorizationType": "OAUTH_CLIENT_CREDENTIALS", "AuthParameters": {}}}),
        json!({"a": {"AuthorizationType": "DIGEST", "AuthParameters": {}}}),
        json!({"a": {"AuthorizationType": "API_KEY",
            "AuthParameters": {"ApiKeyAuthParameters": {"ApiKeyName": "a b", "ApiKeyValue": "k"}}}}),
        oauth_file("ftp://there", "POST", json!({})),
        oauth_file("http://there", "DELETE", json!({})),
        oauth_file("http://there", "POST", json!({"HeaderParameters": [{"Key": "a", "Value": "\n"}]})),
        json!({"a": {"AuthorizationType": "BASIC", "AuthParameters": {"Typo": 1}}}),
    ] {
        assert!(Connections::parse(wrong.to_string().as_bytes()).is_err(), "{wrong}");
    }
}

/// A connection `a` that uses OAuth.
fn oauth_file(endpoint: &str, method: &str, parameters: Value) -> Value {
    json!({"a": {"AuthorizationType": "OAUTH_CLIENT_CREDENTIALS", "AuthParameters": {
        "OAuthParameters": {"AuthorizationEndpoint": endpoint, "HttpMethod": method,
            "ClientParameters": {"ClientID": "me", "ClientSecret": "s&t"}, "OAuthHttpParameters": parameters},
        "InvocationHttpParameters": {"HeaderParameters": [{"Key": "X-Mine", "Value": "connection"}]}}}})
}

/// Issues the tokens `t1`, `t2`, and so on, which last so many seconds; calls with tokens in `takes` are accepted.
fn oauth_server(lasts: Value, takes: fn(&str) -> bool) -> Server {
    let handed_out = AtomicU32::new(0);
    Server::start(move |asked| match asked.target.starts_with("/token") {
        true => {
            let n = handed_out.fetch_add(1, Ordering::Relaxed) + 1;
            let token = json!({"access_token": format!("t{n}"), "token_type": "Bearer", "expires_in": lasts});
            answer(200, &[("Content-Type", "application/json")], token.to_string())
        }
        false if takes(&asked.headers["authorization"]) => answer(200, &[], "{}"),
        false => answer(401, &[], "who are you?"),
    })
}

/// Calls `n` times one after the other, over a connection that uses OAuth; the targets asked for.
fn with_token(server: &Server, method: &str, parameters: Value, n: usize) -> (Vec<Asked>, Vec<String>) {
    let file = oauth_file(&format!("{}/token?v=1", server.url()), method, parameters);
    let connections = Connections::parse(file.to_string().as_bytes()).expect("connections");
    assert!(!format!("{connections:?}").contains("s&t"), "secrets are not shown");
    let integrations = Integrations::new().http(allowing(server)).connections(connections);
    let call =
        json!({"ApiEndpoint": server.url(), "Method": "GET", "Authentication": {"ConnectionArn": "a"}});
    let results = (0..n).map(|_| {
        let outcome = run(integrations.clone(), INVOKE, &call);
        if outcome.status == Status::Succeeded { "ok".to_owned() } else { failure(&outcome).0 }
    });
    let results = results.collect();
    (server.asked.try_iter().collect(), results)
}

#[test]
fn tokens_are_fetched_kept_and_renewed() {
    let all = |_: &str| true;
    let authorizations = |asked: &[Asked]| -> Vec<String> {
        asked.iter().map(|it| it.headers.get("authorization").cloned().unwrap_or_default()).collect()
    };
    // One token for all calls; with it, the connection's other parameters.
    let server = oauth_server(json!(3600), all);
    let body = json!({"BodyParameters": [{"Key": "scope", "Value": "a b"}],
        "QueryStringParameters": [{"Key": "q", "Value": "1"}], "HeaderParameters": [{"Key": "X-A", "Value": "2"}]});
    let (asked, results) = with_token(&server, "POST", body, 2);
    assert_eq!(results, ["ok", "ok"]);
    assert_eq!(authorizations(&asked), ["", "Bearer t1", "Bearer t1"]);
    assert_eq!((&*asked[0].method, &*asked[0].target), ("POST", "/token?v=1&q=1"));
    assert_eq!(asked[0].text(), "grant_type=client_credentials&client_id=me&client_secret=s%26t&scope=a%20b");
    assert_eq!(asked[0].headers["content-type"], "application/x-www-form-urlencoded");
    assert_eq!((&*asked[0].headers["x-a"], &*asked[1].headers["x-mine"]), ("2", "connection"));

    // Without a body, in the query. What the connection names goes before what is usual.
    let server = oauth_server(Value::Null, all);
    let grant = json!({"QueryStringParameters": [{"Key": "grant_type", "Value": "mine"}]});
    let (asked, results) = with_token(&server, "GET", grant, 2);
    assert_eq!(results, ["ok", "ok"]);
    assert_eq!(asked[0].target, "/token?v=1&grant_type=mine&client_id=me&client_secret=s%26t");
    assert_eq!(authorizations(&asked), ["", "Bearer t1", "Bearer t1"]);

    // One that has no time left is not used twice.
    let server = oauth_server(json!("0"), all);
    let (asked, _) = with_token(&server, "PUT", json!({}), 2);
    assert_eq!(authorizations(&asked), ["", "Bearer t1", "", "Bearer t2"]);

    // One that is not taken is renewed, once for a call.
    let server = oauth_server(json!(3600), |token| token == "Bearer t2");
    let (asked, results) = with_token(&server, "POST", json!({}), 2);
    assert_eq!(results, ["ok", "ok"]);
    assert_eq!(authorizations(&asked), ["", "Bearer t1", "", "Bearer t2", "Bearer t2"]);
    let server = oauth_server(json!(3600), |_| false);
    let (asked, results) = with_token(&server, "POST", json!({}), 1);
    assert_eq!(results, ["States.Http.StatusCode.401"]);
    assert_eq!(authorizations(&asked), ["", "Bearer t1", "", "Bearer t2"]);
}

#[test]
fn without_a_token_there_is_no_call() {
    for says in [
        answer(400, &[], r#"{"error": "invalid_client"}"#),
        answer(200, &[], "no JSON"),
        answer(200, &[], r#"{"access_token": "a b"}"#),
        answer(200, &[], "x".repeat(100_000)),
        Says::HangUp,
    ] {
        let server = Server::saying(says.clone());
        let (asked, results) = with_token(&server, "POST", json!({}), 1);
        assert_eq!(results, ["Events.ConnectionResource.InvalidConnectionState"], "{says:?}");
        assert!(asked.iter().all(|asked| asked.target.starts_with("/token")), "{says:?}");
    }
}

/// Answers in all the shapes that HTTP/1.1 has (RFC 9112, section 6): what is read, or nothing when they make no sense.
#[test]
fn answers_end_where_they_say() {
    let long = format!("HTTP/1.1 200 OK\r\nX-Long: {}\r\n\r\n1", "x".repeat(50_000));
    let endless = format!("HTTP/1.1 200 OK\r\nX-Long: {}\r\n\r\n1", "x".repeat(70_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n1", "a: b\r\n".repeat(101));
    let chunk = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n{:x}\r\n{}\r\n0\r\n\r\n",
        70_000,
        "a".repeat(70_000)
    );
    let letters = format!("1{}", "a".repeat(70_000));
    // Short pieces, so that each fits: in all they are too many.
    let early = format!("{}HTTP/1.1 200 OK\r\n\r\n12", "HTTP/1.1 103 Early\r\nA: b\r\n\r\n".repeat(3_000));
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let trailers = format!("{chunked}1\r\n1\r\n0\r\n{}\r\n", "T: t\r\n".repeat(20_000));
    let extended = format!("1;{}\r\n1\r\n", "x".repeat(1_000));
    let extensions = format!("{chunked}{}0\r\n\r\n", extended.repeat(100));
    let singles = format!("{chunked}{}0\r\n\r\n", "1\r\na\r\n".repeat(20_000));
    let many_letters = "a".repeat(20_000);
    for (text, body) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n12", Some("12")),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n123", Some("12")),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n12", Some("12")),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\n12", Some("12")),
        ("HTTP/1.1 200 OK\r\n\r\n12", Some("12")),
        ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n12", Some("12")),
        ("HTTP/1.1 200\r\n\r\n12", Some("12")),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n12",
            Some("12"),
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n2;x=y\r\n23\r\n0\r\n\r\n",
            Some("123"),
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nA\r\n1234567890\r\n0\r\nT: t\r\n\r\n",
            Some("1234567890"),
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n1\r\n1\r\n0\r\n\r\n",
            Some("1"),
        ),
        (&chunk, Some(&letters)),
        (&long, Some("1")),
        (&singles, Some(&many_letters)),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", Some("")),
        // What makes no sense, or ends too early.
        ("", None),
        ("HTTP/1.1 200 OK\r\nContent-", None),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n12", None),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n123", None),
        ("HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\n12", None),
        ("HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n12", None),
        ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n12", None),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n", None),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n12\r\n0\r\n\r\n", None),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n1\r\n0\r\n\r\n", None),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n", None),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n1", None),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\nT: t", None),
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", None),
        ("HTTP/1.1 99 OK\r\n\r\n1", None),
        ("HTTP/2 200 OK\r\n\r\n1", None),
        (&endless, None),
        (&many, None),
        (&early, None),
        (&trailers, None),
        (&extensions, None),
    ] {
        let server = Server::saying(Says::Raw(text.into()));
        let outcome = invoke(&server, &json!({"ApiEndpoint": "/", "Method": "GET"}));
        let shown = &text[..text.len().min(90)];
        match body {
            Some(body) => {
                assert_eq!(output(&outcome)["ResponseBody"].to_string().trim_matches('"'), body, "{shown}")
            }
            None => assert_eq!(failure(&outcome).0, "States.Http.Socket", "{shown}"),
        }
    }
    // With any head, an answer to HEAD has no body.
    let server = Server::saying(Says::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n".to_vec()));
    assert_eq!(
        output(&invoke(&server, &json!({"ApiEndpoint": "/", "Method": "HEAD"})))["ResponseBody"],
        json!("")
    );
}

#[test]
fn api_gateway_is_called() {
    let server = Server::start(|asked| {
        if asked.target.contains("invalid") {
            answer(403, &[], r#"{"message":"Missing Authentication Token"}"#)
        } else {
            answer(200, &[("Content-Type", "application/json"), ("x-amzn-RequestId", "1")], r#""Hello""#)
        }
    });
    let at = || Integrations::new().endpoint("API Gateway", &server.url()).expect("a URL");
    let parameters = json!({
        "ApiEndpoint": "abc.execute-api.us-east-1.amazonaws.com", "Method": "POST", "Stage": "prod",
        "Path": "pets/a b", "QueryParameters": {"n": ["1", "2"]}, "Headers": {"X-A": ["1", "2"]},
        "RequestBody": "Hello", "AuthType": "NO_AUTH",
    });
    assert_eq!(
        output(&run(at(), GATEWAY, &parameters)),
        json!({
            "Headers": {"Content-Length": ["7"], "Content-Type": ["application/json"], "x-amzn-RequestId": ["1"]},
            "ResponseBody": "Hello", "StatusCode": 200, "StatusText": "OK",
        })
    );
    let asked = server.asked.recv().expect("a request");
    assert_eq!(asked.target, "/prod/pets/a%20b?n=1&n=2");
    assert_eq!(asked.headers["host"], "abc.execute-api.us-east-1.amazonaws.com");
    assert_eq!(asked.text(), "\"Hello\"");

    // What is null is not sent, unless it is to be.
    let mut nulls = parameters.clone();
    nulls["QueryParameters"] = json!({"a": null, "b": ["1", null], "c": [null]});
    nulls["RequestBody"] = json!({"a": null, "b": [{"c": null, "d": 1}]});
    output(&run(at(), GATEWAY, &nulls));
    let asked = server.asked.recv().expect("a request");
    assert_eq!((&*asked.target, asked.text()), ("/prod/pets/a%20b?b=1", r#"{"b":[{"d":1}]}"#));
    nulls["AllowNullValues"] = json!(true);
    output(&run(at(), GATEWAY, &nulls));
    let asked = server.asked.recv().expect("a request");
    assert_eq!(asked.text(), r#"{"a":null,"b":[{"c":null,"d":1}]}"#);

    let mut wrong = parameters.clone();
    wrong["Path"] = json!("invalid");
    let (error, cause) = failure(&run(at(), GATEWAY, &wrong));
    assert_eq!((&*error, &*cause), ("ApiGateway.403", r#"{"message":"Missing Authentication Token"}"#));

    let mut signed = parameters.clone();
    signed["AuthType"] = json!("IAM_ROLE");
    let credentials = expressway::task::aws::Credentials::new("AKID", "secret", None);
    output(&run(at().credentials(credentials), GATEWAY, &signed));
    let asked = server.asked.iter().nth(1).expect("a request");
    assert!(asked.headers["authorization"].contains("/us-east-1/execute-api/aws4_request"));

    for host in ["a/b", "a?b", "a@b", ""] {
        let mut wrong = parameters.clone();
        wrong["ApiEndpoint"] = json!(host);
        assert_eq!(failure(&run(at(), GATEWAY, &wrong)).0, "States.Runtime", "{host}");
    }
}
