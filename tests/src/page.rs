//! The daemon's page as a client without a browser sees it.

use std::time::Duration;

use ureq::Agent;
use ureq::http::Response;

use crate::Daemon;

/// An answer with its body read.
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// The body as text; what isn't UTF-8 is replaced.
    pub body: String,
    response: Response<()>,
}

impl Answer {
    /// A header's value, empty when there is none.
    pub fn header(&self, name: &str) -> &str {
        self.response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// Where the page of a daemon is.
pub struct Page {
    /// `http://127.0.0.1:{port}`.
    pub base: String,
    /// What opens it.
    pub token: String,
    agent: Agent,
}

impl Page {
    /// The page of a daemon that runs.
    pub fn of(daemon: &Daemon) -> Page {
        let token = std::fs::read_to_string(daemon.state.join("page.token"))
            .expect("a daemon makes its token before its port is open");
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(30)))
            .build();
        let base = format!("http://127.0.0.1:{}", daemon.page_port);
        Page { base, token, agent: agent.into() }
    }

    /// Asks without anything.
    pub fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[])
    }

    /// Asks with the token.
    pub fn get_with_token(&self, path: &str) -> Answer {
        self.get_with(path, &[("authorization", &format!("Bearer {}", self.token))])
    }

    /// Asks with headers.
    pub fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.agent.get(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        read(request.call())
    }

    /// Posts JSON.
    pub fn post(&self, path: &str, body: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.agent.post(format!("{}{path}", self.base));
        request = request.header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        read(request.send(body))
    }
}

fn read(answer: Result<Response<ureq::Body>, ureq::Error>) -> Answer {
    const LIMIT: u64 = 64 << 20;
    let (head, mut body) = answer.expect("the page answers").into_parts();
    let bytes = body.with_config().limit(LIMIT).read_to_vec().expect("the answer ends");
    Answer {
        status: head.status.as_u16(),
        body: String::from_utf8_lossy(&bytes).into_owned(),
        response: Response::from_parts(head, ()),
    }
}
