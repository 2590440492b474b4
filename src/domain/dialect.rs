//! The dialects: APIs of others that their clients speak to this service. Which are on, and what each needs to
//! know.

mod fabric;
mod guid;
mod servicestack;

use super::policy::TenantName;

pub use fabric::{Fabric, FabricAccount};
pub use guid::Guid;
pub use servicestack::{Misplaced, Named, Places, ServiceStack};

/// The dialects that are on.
#[derive(Clone, Debug, Default)]
pub struct Dialects {
    /// Rebilly's password tokens.
    pub rebilly: Option<Rebilly>,
    /// fabric's identity service.
    pub fabric: Option<Fabric>,
    /// `LoginRadius`' identity API.
    pub loginradius: Option<LoginRadius>,
    /// A `ServiceStack` service's password resets.
    pub servicestack: Option<ServiceStack>,
}

/// Rebilly's password tokens.
#[derive(Clone, Debug)]
pub struct Rebilly {
    /// The tenant that its callers must be of.
    pub tenant: TenantName,
    /// Whether everybody who asks for `/password-tokens` is taken for a client of it.
    pub takes_all_callers: bool,
}

/// `LoginRadius`' identity API.
#[derive(Clone, Debug)]
pub struct LoginRadius {
    /// The tenant that its callers must be of.
    pub tenant: TenantName,
    /// What its clients send to say which app they are of. It is public.
    pub api_key: String,
    /// The caller that whoever sends no secret acts as, where the vendor wants none.
    pub caller: Option<String>,
}
