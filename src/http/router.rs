//! What is added to perch's own routes: handlers and request wrappers of whoever uses perch as a library, and folders.
//!
//! Everything is validated while it is added, so that a mistake shows at the start and not at a request. perch's own
//! routes are `routes`'.

use std::path::{Path, PathBuf};

use hyper::{Method, StatusCode, header};

use super::guard::Needs;
use super::message::{Request, Response};
use super::routes::TABLE;
use super::{files, path};
use crate::auth::Scope;

/// A handler of a route that is added.
pub type Handler = Box<dyn Fn(&Request) -> Response + Send + Sync>;

/// A function around every request, perch's own routes included: it may change the request, answer it itself, or run
/// what is [`Next`] and change the answer.
pub type Wrapper = Box<dyn Fn(Request, Next<'_>) -> Response + Send + Sync>;

/// Why a route was not added.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RouteError {
    /// The pattern cannot be understood.
    #[error("`{0}` is not a route: it must start with `/` and hold segments, `{{name}}`, or `{{*name}}` at its end")]
    Pattern(String),
    /// It would hide a route, or be hidden by one.
    #[error("the route `{method} {path}` would collide with `{taken}`")]
    Taken {
        /// The method that was to be added.
        method: Method,
        /// The path that was to be added.
        path: String,
        /// The path that is there already.
        taken: String,
    },
    /// A folder can only be mounted at a path without parameters, and not at `/`.
    #[error("a folder cannot be mounted at `{0}`: it must be a path like `/files`")]
    Mount(String),
    /// There is no such folder.
    #[error("`{}` is not a folder that can be read", .0.display())]
    Folder(PathBuf),
}

/// A route beside perch's own.
pub(super) struct Added {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) needs: Needs,
    pub(super) handler: Handler,
}

/// Routes, folders and wrappers beside perch's own routes.
#[derive(Default)]
pub struct Router {
    added: Vec<Added>,
    wrappers: Vec<Wrapper>,
}

impl Router {
    /// Nothing beyond perch's own routes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a route for whoever may watch. `HEAD` comes with `GET`, `OPTIONS` by itself.
    ///
    /// # Errors
    /// As for [`Router::route_for`].
    pub fn route(
        self,
        method: Method,
        path: &str,
        handler: impl Fn(&Request) -> Response + Send + Sync + 'static,
    ) -> Result<Self, RouteError> {
        self.route_for(Some(Scope::View), method, path, handler)
    }

    /// Adds a route for whoever may do what `scope` says, and refuses it to other sites' pages; without a scope it is for
    /// everybody and every page.
    ///
    /// # Errors
    /// When the path is not a pattern, or a route for it exists: perch's own cannot be shadowed.
    pub fn route_for(
        self,
        scope: Option<Scope>,
        method: Method,
        path: &str,
        handler: impl Fn(&Request) -> Response + Send + Sync + 'static,
    ) -> Result<Self, RouteError> {
        if !path::is_pattern(path) {
            return Err(RouteError::Pattern(path.into()));
        }
        let needs = scope.map_or(Needs::Public, Needs::Caller);
        self.add(Added { method, path: path.into(), needs, handler: Box::new(handler) })
    }

    /// Serves the files of `folder` below `path`, `index.html` at `path` itself. Files above 8 MiB, and links
    /// that leave the folder, are not served.
    ///
    /// # Errors
    /// When the path has parameters or a route for it exists, or the folder is not one.
    pub fn mount(self, path: &str, folder: &Path) -> Result<Self, RouteError> {
        let plain = path.trim_end_matches('/');
        if plain.is_empty() || plain.contains(['{', '}']) || !path::is_pattern(plain) {
            return Err(RouteError::Mount(path.into()));
        }
        if !folder.is_dir() {
            return Err(RouteError::Folder(folder.into()));
        }
        let (below, folder) = (format!("{plain}/"), folder.to_owned());
        let redirected = below.clone();
        // Links in a folder's page are relative to the folder.
        let redirect =
            move |_: &Request| Response::empty(StatusCode::PERMANENT_REDIRECT).with(header::LOCATION, &redirected);
        let serve = move |request: &Request| {
            let name = Path::new(match request.param("file") {
                "" => "index.html",
                name => name,
            });
            match files::read(&folder, name) {
                Some(content) => files::respond(request, name, content),
                None => Response::error(StatusCode::NOT_FOUND, "there is no such file"),
            }
        };
        self.route(Method::GET, plain, redirect)?.route(Method::GET, &below, serve.clone())?.route(
            Method::GET,
            &format!("{below}{{*file}}"),
            serve,
        )
    }

    /// Wraps every request. The wrapper that is added first is the outermost.
    #[must_use]
    pub fn wrap(mut self, wrapper: impl Fn(Request, Next<'_>) -> Response + Send + Sync + 'static) -> Self {
        self.wrappers.push(Box::new(wrapper));
        self
    }

    /// Adds all of `other`: its wrappers go inside of these, and around all requests too.
    ///
    /// # Errors
    /// When a route of `other` collides with one that is here.
    pub fn merge(mut self, other: Self) -> Result<Self, RouteError> {
        for added in other.added {
            self = self.add(added)?;
        }
        self.wrappers.extend(other.wrappers);
        Ok(self)
    }

    fn add(mut self, new: Added) -> Result<Self, RouteError> {
        let own = TABLE.iter().map(|row| row.path).find(|taken| path::overlap(&new.path, taken));
        let added = || self.added.iter().filter(|other| other.method == new.method).map(|other| &*other.path);
        if let Some(taken) = own.or_else(|| added().find(|taken| path::overlap(&new.path, taken))) {
            return Err(RouteError::Taken { method: new.method, taken: taken.into(), path: new.path });
        }
        self.added.push(new);
        Ok(self)
    }

    pub(super) fn added(&self) -> &[Added] {
        &self.added
    }

    pub(super) fn wrappers(&self) -> &[Wrapper] {
        &self.wrappers
    }
}

/// What answers a request behind a wrapper: the next wrapper, or the route.
pub struct Next<'a> {
    wrappers: &'a [Wrapper],
    route: &'a dyn Fn(Request) -> Response,
}

impl<'a> Next<'a> {
    pub(super) const fn new(wrappers: &'a [Wrapper], route: &'a dyn Fn(Request) -> Response) -> Self {
        Self { wrappers, route }
    }

    /// Answers `request`.
    #[must_use]
    pub fn run(self, request: Request) -> Response {
        match self.wrappers.split_first() {
            Some((wrapper, wrappers)) => wrapper(request, Next { wrappers, route: self.route }),
            None => (self.route)(request),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(router: Router, path: &str) -> Result<Router, RouteError> {
        router.route(Method::GET, path, |_| Response::text(""))
    }

    #[test]
    fn own_routes_cannot_be_shadowed() {
        for path in ["/", "/offer", "/static/mine.js", "/whep/{name}", "/{any}", "/{*all}"] {
            let refused = Router::new().route(Method::PUT, path, |_| Response::text(""));
            assert!(matches!(refused, Err(RouteError::Taken { .. })), "{path}");
        }
        let router = get(Router::new(), "/mine/{name}").unwrap();
        let router = router.route(Method::POST, "/mine/{name}", |_| Response::text("")).unwrap();
        assert!(get(router, "/mine/{*rest}").is_err());
    }

    #[test]
    fn a_path_that_is_no_pattern_is_refused() {
        for path in ["", "mine", "/a/{", "/a/{}", "/{*all}/b", "/a b", "/a?b"] {
            assert_eq!(get(Router::new(), path).err(), Some(RouteError::Pattern(path.into())));
        }
    }

    #[test]
    fn merged_routers_may_not_collide() {
        let (one, other) = (get(Router::new(), "/a").unwrap(), get(Router::new(), "/b").unwrap());
        let both = one.merge(other).unwrap();
        assert!(both.merge(get(Router::new(), "/c/{x}").unwrap()).is_ok());
        let (one, other) = (get(Router::new(), "/a").unwrap(), get(Router::new(), "/a").unwrap());
        assert_eq!(one.merge(other).err().unwrap().to_string(), "the route `GET /a` would collide with `/a`");
    }

    #[test]
    fn a_mount_needs_a_plain_path_and_a_folder() {
        let here = Path::new(".");
        for path in ["", "/", "files", "/{x}", "/a b"] {
            assert_eq!(Router::new().mount(path, here).err(), Some(RouteError::Mount(path.into())), "{path}");
        }
        assert!(matches!(Router::new().mount("/static/x", here), Err(RouteError::Taken { .. })));
        assert!(matches!(Router::new().mount("/files", Path::new("Cargo.toml")), Err(RouteError::Folder(_))));
        assert!(Router::new().mount("/files/", here).is_ok());
    }

    #[test]
    fn wrappers_run_from_the_outside_in() {
        let tag = |letter: &'static str| {
            move |mut request: Request, next: Next<'_>| {
                request.path += letter;
                next.run(request)
            }
        };
        let router = Router::new().wrap(tag("a")).merge(Router::new().wrap(tag("b"))).unwrap();
        let request = Request { path: "/".into(), ..Request::default() };
        let response = Next::new(router.wrappers(), &|request| Response::text(request.path)).run(request);
        assert_eq!(response.body().unwrap().as_ref(), b"/ab");
    }
}
