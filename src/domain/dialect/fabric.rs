//! Whose tokens a request in fabric's dialect is about: its site context names an account, and an account is a
//! tenant here.

use std::collections::BTreeMap;

use crate::domain::policy::TenantName;

/// fabric's identity service.
#[derive(Clone, Debug)]
pub struct Fabric {
    /// The tenant of requests that name no account of another.
    pub tenant: TenantName,
    /// The tenants that accounts are.
    pub accounts: BTreeMap<FabricAccount, TenantName>,
    /// Whether an account that is not among them is nobody's.
    pub strict_accounts: bool,
    /// Whether a request may come without a site context.
    pub lenient_site_context: bool,
}

/// The name of an account, as it stands in a site context.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FabricAccount(String);

impl FabricAccount {
    /// What a text must be to be one.
    pub const WANTED: &str = "an account of 24 letters and digits";

    /// Takes the text as it was given. Most are hexadecimal; the example in fabric's own document is not.
    pub fn parse(text: &str) -> Option<Self> {
        let is_account = text.len() == 24 && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        is_account.then(|| Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Fabric {
    /// The tenant of a request that names this account, or none. It may be nobody's.
    pub fn tenant_of(&self, account: Option<&FabricAccount>) -> Option<&TenantName> {
        let Some(account) = account else { return Some(&self.tenant) };
        let is_taken = !self.strict_accounts;
        self.accounts.get(account).or_else(|| is_taken.then_some(&self.tenant))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &str = "6169b2d892a5f30009d76480";
    const OTHER: &str = "1234abcd5678efgh9ijklmno";

    fn account(text: &str) -> FabricAccount {
        FabricAccount::parse(text).unwrap()
    }

    #[test]
    fn an_account_is_24_letters_and_digits() {
        assert_eq!(account(OTHER).as_str(), OTHER);
        for text in [
            "",
            "1234abcd",
            "1234abcd5678efgh9ijklmn-",
            "1234abcd5678efgh9ijklmnop",
            "äääääääääääää",
        ] {
            assert!(FabricAccount::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn an_account_that_is_not_listed_is_the_sections_tenant_or_nobody() {
        let tenant = TenantName::default();
        let acme = TenantName::parse("acme").unwrap();
        let accounts = BTreeMap::from([(account(KNOWN), acme.clone())]);
        let lenient =
            Fabric { tenant, accounts, strict_accounts: false, lenient_site_context: false };
        let strict = Fabric { strict_accounts: true, ..lenient.clone() };
        for fabric in [&lenient, &strict] {
            assert_eq!(fabric.tenant_of(Some(&account(KNOWN))), Some(&acme));
            assert_eq!(fabric.tenant_of(None), Some(&fabric.tenant));
        }
        assert_eq!(lenient.tenant_of(Some(&account(OTHER))), Some(&lenient.tenant));
        assert_eq!(strict.tenant_of(Some(&account(OTHER))), None);
    }
}
