//! What to answer to a request.

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, HOST, LAST_MODIFIED, LOCATION, RANGE, STRICT_TRANSPORT_SECURITY, VARY,
    WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};

use crate::body::Body;
use crate::condition::{Verdict, Version};
use crate::options::Options;
use crate::password::Passwords;
use crate::range::Wanted;
use crate::site::{Found, Opened, Site, SitePath};
use crate::{kind, listing, range};

const INDEX: &str = "index.html";
const NOT_FOUND_PAGE: &str = "404.html";

/// Answers requests out of one site.
#[derive(Debug)]
pub struct Responder {
    site: Site,
    options: Options,
    passwords: Option<Passwords>,
}

impl Responder {
    /// Answers out of `site`; to the people in `passwords` only, if given.
    #[must_use]
    pub fn new(site: Site, options: Options, passwords: Option<Passwords>) -> Self {
        Self {
            site,
            options,
            passwords,
        }
    }

    /// The answer to `request`, whose body does not matter.
    #[must_use]
    pub fn answer<B>(&self, request: &Request<B>) -> Response<Body> {
        let head = request.method() == Method::HEAD;
        let mut answer = self.decide(request).unwrap_or_else(|error| {
            eprint_error(&error);
            message(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the file cannot be read\n",
            )
        });
        let headers = answer.headers_mut();
        if self.options.strict_transport_security {
            let year = HeaderValue::from_static("max-age=31536000");
            headers.insert(STRICT_TRANSPORT_SECURITY, year);
        }
        if head {
            // The length of what a GET would bring, without bringing it.
            let length = http_body::Body::size_hint(answer.body()).exact();
            if answer.status() != StatusCode::NOT_MODIFIED
                && let Some(length) = length
            {
                answer.headers_mut().insert(CONTENT_LENGTH, length.into());
            }
            *answer.body_mut() = Body::Text(Bytes::new());
        }
        answer
    }

    fn decide<B>(&self, request: &Request<B>) -> std::io::Result<Response<Body>> {
        let headers = request.headers();
        if let Some(elsewhere) = self.to_https(request) {
            return Ok(moved(StatusCode::MOVED_PERMANENTLY, &elsewhere));
        }
        if !self.admits(headers) {
            let mut answer = message(StatusCode::UNAUTHORIZED, "a name and a password, please\n");
            let challenge = HeaderValue::from_static("Basic realm=\"site\", charset=\"UTF-8\"");
            answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            return Ok(answer);
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut answer = message(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            answer
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Ok(answer);
        }
        let Ok(path) = SitePath::parse(request.uri().path()) else {
            return Ok(message(
                StatusCode::BAD_REQUEST,
                "no file can have this path\n",
            ));
        };
        match self.site.open(&path)? {
            Found::File(file) => Ok(self.file(StatusCode::OK, file, path.file_name(), headers)),
            Found::Folder(_) if !path.ends_in_slash && !path.is_root() => {
                Ok(moved(StatusCode::MOVED_PERMANENTLY, &with_slash(request)))
            }
            Found::Folder(folder) => match self.site.open(&path.child(INDEX))? {
                Found::File(file) => Ok(self.file(StatusCode::OK, file, INDEX, headers)),
                _ if self.options.directory => {
                    let page = listing::page(folder, &path, self.site.shows_dot_files())?;
                    Ok(text(StatusCode::OK, kind::of(INDEX), page))
                }
                _ => self.missing(headers),
            },
            Found::Nothing => self.missing(headers),
        }
    }

    /// What is not there: the index page for apps that route in the browser, else a 404 page.
    fn missing(&self, headers: &HeaderMap) -> std::io::Result<Response<Body>> {
        let root = SitePath::parse("/").map_err(std::io::Error::other)?;
        if self.options.pushstate
            && let Found::File(file) = self.site.open(&root.child(INDEX))?
        {
            return Ok(self.file(StatusCode::OK, file, INDEX, headers));
        }
        if let Found::File(file) = self.site.open(&root.child(NOT_FOUND_PAGE))? {
            return Ok(self.file(StatusCode::NOT_FOUND, file, NOT_FOUND_PAGE, headers));
        }
        Ok(message(StatusCode::NOT_FOUND, "nothing here\n"))
    }

    fn file(
        &self,
        status: StatusCode,
        file: Opened,
        name: &str,
        headers: &HeaderMap,
    ) -> Response<Body> {
        if status != StatusCode::OK {
            return whole(status, file, name);
        }
        let version = Version::new(file.length, file.modified_seconds);
        let mut answer = match version.judge(headers) {
            Verdict::Failed => return message(StatusCode::PRECONDITION_FAILED, "it has changed\n"),
            Verdict::NotModified => bare(StatusCode::NOT_MODIFIED),
            Verdict::Proceed => match wanted(&version, file.length, headers) {
                Wanted::All => whole(status, file, name),
                Wanted::Part(from, to) => part(file, from, to, name),
                Wanted::Nothing => {
                    let mut answer = bare(StatusCode::RANGE_NOT_SATISFIABLE);
                    insert(
                        &mut answer,
                        CONTENT_RANGE,
                        &format!("bytes */{}", file.length),
                    );
                    return answer;
                }
            },
        };
        answer
            .headers_mut()
            .insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        insert(&mut answer, ETAG, &version.etag);
        insert(
            &mut answer,
            LAST_MODIFIED,
            &httpdate::fmt_http_date(version.modified),
        );
        if self.passwords.is_some() {
            answer
                .headers_mut()
                .insert(CACHE_CONTROL, HeaderValue::from_static("private"));
        }
        answer
    }

    fn admits(&self, headers: &HeaderMap) -> bool {
        let Some(passwords) = &self.passwords else {
            return true;
        };
        let given = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        given.is_some_and(|given| passwords.admit(given))
    }

    fn to_https<B>(&self, request: &Request<B>) -> Option<String> {
        let scheme = request.headers().get("x-forwarded-proto")?.to_str().ok()?;
        if !self.options.force_https || !scheme.eq_ignore_ascii_case("http") {
            return None;
        }
        let host = request.headers().get(HOST)?.to_str().ok()?;
        let name = host.rsplit_once(':').map_or(host, |(name, _port)| name);
        Some(format!("https://{name}{}", path_and_query(request)))
    }
}

fn wanted(version: &Version, length: u64, headers: &HeaderMap) -> Wanted {
    match headers.get(RANGE).and_then(|value| value.to_str().ok()) {
        Some(header) if version.allows_range(headers) => range::parse(header, length),
        _ => Wanted::All,
    }
}

fn whole(status: StatusCode, file: Opened, name: &str) -> Response<Body> {
    let body = Body::Part {
        file: file.file,
        from: 0,
        to: file.length,
    };
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind::of(name)));
    answer
}

fn part(file: Opened, from: u64, to: u64, name: &str) -> Response<Body> {
    let stretch = format!("bytes {from}-{}/{}", to - 1, file.length);
    let mut answer = Response::new(Body::Part {
        file: file.file,
        from,
        to,
    });
    *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind::of(name)));
    insert(&mut answer, CONTENT_RANGE, &stretch);
    answer
}

fn bare(status: StatusCode) -> Response<Body> {
    let mut answer = Response::new(Body::Text(Bytes::new()));
    *answer.status_mut() = status;
    answer
}

fn text(status: StatusCode, kind: &'static str, content: impl Into<Bytes>) -> Response<Body> {
    let mut answer = Response::new(Body::Text(content.into()));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

fn message(status: StatusCode, content: &'static str) -> Response<Body> {
    text(status, "text/plain; charset=utf-8", content)
}

fn moved(status: StatusCode, location: &str) -> Response<Body> {
    let mut answer = message(status, "");
    insert(&mut answer, LOCATION, location);
    answer
        .headers_mut()
        .insert(VARY, HeaderValue::from_static("X-Forwarded-Proto"));
    answer
}

/// Values made of what a client sent may hold bytes that no header can; those are left out.
fn insert(answer: &mut Response<Body>, name: http::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}

/// The same path with a slash at its end. Slashes at its start become one: two of them would name
/// another host.
fn with_slash<B>(request: &Request<B>) -> String {
    let path = request.uri().path().trim_start_matches('/');
    let query = request
        .uri()
        .query()
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    format!("/{path}/{query}")
}

fn path_and_query<B>(request: &Request<B>) -> &str {
    request
        .uri()
        .path_and_query()
        .map_or("/", |both| both.as_str())
}

#[expect(
    clippy::print_stderr,
    reason = "what goes to standard error is the app's log"
)]
fn eprint_error(error: &std::io::Error) {
    eprintln!("cannot read a file of the site: {error}");
}
