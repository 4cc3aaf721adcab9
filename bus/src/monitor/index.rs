//! `/`: where to go from here.

use super::endpoint::Endpoint;
use crate::protocol;

/// A page of links, relative, so that it works behind any prefix.
pub(crate) fn page(base_path: &str) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>cupola-bus</title></head>\n\
         <body>\n<h1>cupola-bus {}</h1>\n<p>Speaks as nats-server {}.</p>\n<ul>\n",
        env!("CARGO_PKG_VERSION"),
        protocol::VERSION,
    );
    // Seen from `/mon`, the neighbours are `mon/varz`; from `/`, `varz`.
    let from = base_path.rsplit('/').next().unwrap_or_default();
    for endpoint in Endpoint::ALL.into_iter().skip(1) {
        let path = endpoint.path();
        page.push_str(&format!(
            "<li><a href=\"./{from}{}\">{}</a></li>\n",
            if from.is_empty() {
                path.trim_start_matches('/')
            } else {
                path
            },
            endpoint.title(),
        ));
    }
    page.push_str("</ul>\n</body>\n</html>\n");
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_relative() {
        assert!(page("").contains("href=\"./varz\""));
        assert!(page("/a/mon").contains("href=\"./mon/varz\""));
    }
}
