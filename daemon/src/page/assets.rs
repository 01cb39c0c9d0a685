//! The page's own files, inside the binary. They hold no data, so everybody may see them.

use axum::http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::hex::hex;

/// Compressed files end with this, which the address leaves out. Every browser takes gzip.
const COMPRESSED: &str = ".gz";

#[derive(RustEmbed)]
#[folder = "src/page/assets/"]
struct Assets;

/// Answers with the file of that name; `/` is `index.html`.
pub(super) async fn serve(uri: Uri, headers: HeaderMap) -> Response {
    let name = match uri.path().trim_start_matches('/') {
        "" => "index.html",
        name => name,
    };
    let Some((file, compressed)) = find(name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let digest: String = hex(&file.metadata.sha256_hash()[..16]);
    let tag = format!("\"{digest}\"");
    // Files below vendor/ have their version in the name; the others are asked for anew, and mostly not sent again.
    let caching = match name.starts_with("vendor/") {
        true => "public, max-age=31536000, immutable",
        false => "no-cache",
    };
    let caching = [(CACHE_CONTROL, caching.to_owned()), (ETAG, tag.clone())];
    if headers.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    let kind = content_type(name);
    let mut response = (caching, [(CONTENT_TYPE, kind)], file.data).into_response();
    if compressed {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// The file, and whether it is compressed.
fn find(name: &str) -> Option<(EmbeddedFile, bool)> {
    let plain = Assets::get(name).map(|file| (file, false));
    plain.or_else(|| Assets::get(&format!("{name}{COMPRESSED}")).map(|file| (file, true)))
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ModicType;
    use crate::report::colour;

    #[test]
    fn the_types_have_the_colours_of_the_pictures() {
        let style = Assets::get("css/base.css").unwrap();
        let style = String::from_utf8_lossy(&style.data).into_owned();
        for kind in ModicType::ALL {
            let [red, green, blue] = colour(kind).0.0;
            let rule = format!("--type-{}: rgb({red} {green} {blue});", kind.voxel_value());
            assert!(style.contains(&rule), "{rule}");
        }
    }

    #[test]
    fn nothing_in_the_pages_own_files_is_elsewhere() {
        for name in Assets::iter().filter(|name| !name.starts_with("vendor/")) {
            let file = Assets::get(&name).unwrap();
            let text =
                String::from_utf8_lossy(&file.data).replace("http://www.w3.org/2000/svg", "");
            assert!(!text.contains("http:") && !text.contains("https:"), "{name}");
        }
    }

    #[tokio::test]
    async fn a_known_file_is_not_sent_again_and_vendor_files_are_compressed() {
        let index = serve(Uri::from_static("/"), HeaderMap::new()).await;
        let mut known = HeaderMap::new();
        known.insert(IF_NONE_MATCH, index.headers()[ETAG].clone());
        let again = serve(Uri::from_static("/"), known).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        let viewer = Uri::from_static("/vendor/niivue-0.69.0.min.js");
        let viewer = serve(viewer, HeaderMap::new()).await;
        assert_eq!(viewer.headers()[CONTENT_ENCODING], "gzip");
        assert_eq!(serve(Uri::from_static("/../mod.rs"), HeaderMap::new()).await.status(), 404);
    }
}
