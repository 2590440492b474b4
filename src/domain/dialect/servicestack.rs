//! What the dialect of a `ServiceStack` service needs to know, and whose users a request means.

use std::collections::BTreeMap;

use super::guid::Guid;
use crate::domain::policy::TenantName;

/// A `ServiceStack` service's password resets.
#[derive(Clone, Debug)]
pub struct ServiceStack {
    /// The tenant of requests that name no other.
    pub tenant: TenantName,
    /// Whether anybody may have a link sent, without a key, as the vendor has it.
    pub is_public: bool,
    /// Whether names in JSON begin with a small letter unless a request asks for something else.
    pub has_camel_names: bool,
    /// The tenants that requests name by other names.
    pub places: Places,
}

/// The tenants by the names that requests have for them. A kind of name that nothing is listed under is not looked
/// at: where there is one tenant, its clients may go on sending names of their own.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// By `ApplianceId`.
    pub appliances: BTreeMap<Guid, TenantName>,
    /// By `SuiteId`.
    pub suites: BTreeMap<Guid, TenantName>,
    /// By `SubdomainName`, in lower case.
    pub subdomains: BTreeMap<String, TenantName>,
}

/// What a request says about whose users it means.
#[derive(Clone, Copy, Debug, Default)]
pub struct Named<'n> {
    /// `ApplianceId`.
    pub appliance: Option<Guid>,
    /// `SuiteId`.
    pub suite: Option<Guid>,
    /// `SubdomainName`.
    pub subdomain: Option<&'n str>,
}

/// The member of a request that names nothing here, or another tenant than a member before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misplaced {
    /// `ApplianceId`.
    Appliance,
    /// `SuiteId`.
    Suite,
    /// `SubdomainName`.
    Subdomain,
}

impl ServiceStack {
    /// Every tenant that a request can mean.
    pub fn tenants(&self) -> impl Iterator<Item = &TenantName> {
        let Places { appliances, suites, subdomains } = &self.places;
        let named = appliances.values().chain(suites.values()).chain(subdomains.values());
        [&self.tenant].into_iter().chain(named)
    }

    /// The tenant that a request means, which is that of the caller, if one is known, where the request names any.
    ///
    /// # Errors
    /// [`Misplaced`].
    pub fn tenant_of(
        &self,
        named: Named<'_>,
        of_caller: Option<&TenantName>,
    ) -> Result<&TenantName, Misplaced> {
        let Places { appliances, suites, subdomains } = &self.places;
        let subdomain = named.subdomain.map(str::to_lowercase);
        let found = [
            (Misplaced::Appliance, found(appliances, named.appliance.as_ref())),
            (Misplaced::Suite, found(suites, named.suite.as_ref())),
            (Misplaced::Subdomain, found(subdomains, subdomain.as_ref())),
        ];
        let mut tenant = None;
        for (member, found) in found {
            match (tenant.or(of_caller), found) {
                (_, Found::Nothing) => return Err(member),
                (Some(wanted), Found::Tenant(other)) if wanted != other => return Err(member),
                (_, Found::Tenant(found)) => tenant = Some(found),
                (_, Found::Unasked) => {}
            }
        }
        Ok(tenant.unwrap_or(&self.tenant))
    }
}

/// What a name leads to.
enum Found<'f> {
    Unasked,
    Nothing,
    Tenant(&'f TenantName),
}

fn found<'f, N: Ord>(listed: &'f BTreeMap<N, TenantName>, name: Option<&N>) -> Found<'f> {
    match name {
        Some(name) if !listed.is_empty() => listed.get(name).map_or(Found::Nothing, Found::Tenant),
        Some(_) | None => Found::Unasked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> TenantName {
        TenantName::parse(text).unwrap()
    }

    fn guid(digit: char) -> Guid {
        Guid::parse(&digit.to_string().repeat(32)).unwrap()
    }

    fn dialect(places: Places) -> ServiceStack {
        let tenant = TenantName::default();
        ServiceStack { tenant, is_public: false, has_camel_names: false, places }
    }

    #[test]
    fn a_name_leads_to_its_tenant_and_no_name_to_that_of_the_section() {
        let dialect = dialect(Places {
            appliances: [(guid('a'), name("acme")), (guid('b'), name("beta"))].into(),
            subdomains: [("acme".to_owned(), name("acme"))].into(),
            ..Places::default()
        });
        let tenant = |appliance, suite, subdomain| {
            let named = Named { appliance, suite, subdomain };
            dialect.tenant_of(named, None).map(TenantName::as_str)
        };
        assert_eq!(tenant(None, None, None), Ok("default"));
        assert_eq!(tenant(Some(guid('a')), None, None), Ok("acme"));
        assert_eq!(tenant(Some(guid('a')), None, Some("ACME")), Ok("acme"));
        // Nothing is listed by suite, so none is looked at.
        assert_eq!(tenant(None, Some(guid('c')), Some("Acme")), Ok("acme"));
        assert_eq!(tenant(Some(guid('c')), None, None), Err(Misplaced::Appliance));
        assert_eq!(tenant(None, None, Some("other")), Err(Misplaced::Subdomain));
        assert_eq!(tenant(Some(guid('b')), None, Some("acme")), Err(Misplaced::Subdomain));
    }

    #[test]
    fn what_is_listed_for_another_tenant_is_nothing_to_a_caller() {
        let dialect = dialect(Places {
            appliances: [(guid('a'), name("acme")), (guid('b'), name("beta"))].into(),
            subdomains: [("beta".to_owned(), name("beta"))].into(),
            ..Places::default()
        });
        let acme = name("acme");
        let tenant = |appliance, subdomain| {
            let named = Named { appliance, suite: None, subdomain };
            dialect.tenant_of(named, Some(&acme)).map(TenantName::as_str)
        };
        assert_eq!(tenant(Some(guid('a')), None), Ok("acme"));
        for unlisted in ['b', 'c'] {
            assert_eq!(tenant(Some(guid(unlisted)), Some("beta")), Err(Misplaced::Appliance));
        }
        assert_eq!(tenant(Some(guid('a')), Some("beta")), Err(Misplaced::Subdomain));
        assert_eq!(tenant(None, None), Ok("default"));
    }

    #[test]
    fn where_no_name_is_listed_any_will_do() {
        let dialect = dialect(Places::default());
        let named =
            Named { appliance: Some(guid('a')), suite: Some(guid('b')), subdomain: Some("x") };
        assert_eq!(dialect.tenant_of(named, None).map(TenantName::as_str), Ok("default"));
    }
}
