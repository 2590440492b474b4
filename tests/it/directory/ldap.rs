//! A real `OpenLDAP` server.

use std::time::Duration;

use resetd::directory::{Directory, DirectoryLimits};
use resetd::domain::directory::{DirectorySource, LdapSecurity, LdapSource, UserFilter};
use resetd::domain::secret::Secret;

use super::slapd::{PASSWORD, READER, Slapd};
use super::{HOSTILE, assert_unavailable, email, name, open, shown};
use crate::server::PATIENCE;
use crate::tls::certificates::Authority;

fn ldap(source: LdapSource) -> Directory {
    open(DirectorySource::Ldap(Box::new(source)))
}

#[tokio::test]
async fn a_user_is_found_with_all_that_is_asked_for_over_tls_and_start_tls() {
    let slapd = Slapd::start();
    for source in [slapd.source(), slapd.start_tls()] {
        let directory = ldap(source);
        let ann = directory.find(&name("ann")).await.unwrap().unwrap();
        let (username, is_enabled, email, user_id, credential_id, mut providers, language) =
            shown(&ann);
        assert_eq!((username.as_str(), is_enabled), ("ann", true));
        assert_eq!(email.as_deref(), Some("ann@example.com"));
        assert_eq!(user_id.unwrap().len(), 36, "a UUID");
        assert_eq!(credential_id.as_deref(), Some("17"));
        providers.sort();
        assert_eq!(providers, ["google", "saml:corp"]);
        assert_eq!(language.as_deref(), Some("de-ch"));
        assert!(!directory.find(&name("bob")).await.unwrap().unwrap().is_enabled);
        let bare = directory.find(&name("bare")).await.unwrap().unwrap();
        assert_eq!((bare.email, bare.language), (None, None));
        assert_eq!(directory.find(&name("nobody")).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_name_is_the_same_in_any_case_and_told_as_the_server_spells_it() {
    let slapd = Slapd::start();
    let directory = ldap(slapd.source());
    let found = directory.find(&name("ANN")).await.unwrap().unwrap();
    assert_eq!(found.username.as_str(), "ann");
    // The server's rule leaves out blanks as well, ours does not.
    let found = directory.find(&name(" ann ")).await;
    assert_unavailable(&found, " ann ", "of another user");
}

#[tokio::test]
async fn a_name_is_a_value_of_the_filter_and_nothing_else() {
    let slapd = Slapd::start();
    let directory = ldap(slapd.source());
    for hostile in HOSTILE {
        assert_eq!(directory.find(&name(hostile)).await.unwrap(), None, "{hostile}");
    }
    // A template that wants one of several attributes is no way in either.
    let filter = UserFilter::parse("(|(uid={username})(mail={username}))").unwrap();
    let directory = ldap(LdapSource { filter, ..slapd.source() });
    for hostile in HOSTILE {
        assert_eq!(directory.find(&name(hostile)).await.unwrap(), None, "{hostile}");
    }
    // It finds an entry by its mail, but that is not the name of that user.
    let found = directory.find(&name("ann@example.com")).await;
    assert_unavailable(&found, "ann@example.com", "of another user");
}

#[tokio::test]
async fn what_is_not_whole_and_not_one_is_not_told() {
    let slapd = Slapd::start();
    let directory = ldap(slapd.source());
    for (user, wanted) in [
        ("twin", "more than one user matches"),
        ("broken", "its email cannot be used"),
        ("many", "more than one value of mail, in no order; wanted one, or another attribute"),
    ] {
        assert_unavailable(&directory.find(&name(user)).await, user, wanted);
    }
    let other = |change: &dyn Fn(&mut LdapSource)| {
        let mut source = slapd.source();
        change(&mut source);
        ldap(source)
    };
    let cases = [
        (other(&|it| it.base = "dc=nowhere".into()), "no such entry as directory.base"),
        (other(&|it| it.base = "dc=example,dc=com".into()), "refers to another server"),
        (
            other(&|it| it.base = "cn=there,ou=elsewhere,dc=example,dc=com".into()),
            "refers to another server",
        ),
        (other(&|it| it.attributes.username = "employeeNumber".into()), "of another user"),
        (other(&|it| it.attributes.user_id = Some("employeeType".into())), "more than one value"),
    ];
    for (directory, wanted) in cases {
        assert_unavailable(&directory.find(&name("ann")).await, "ann@example.com", wanted);
    }
}

#[tokio::test]
async fn nobody_but_the_reader_is_told_anything() {
    let slapd = Slapd::start();
    let bind = |name: &str, password: &str| Some((name.to_owned(), Secret::new(password)));
    for bind in [bind(READER, "wrong"), bind("cn=nobody,dc=example,dc=com", PASSWORD)] {
        let directory = ldap(LdapSource { bind, ..slapd.source() });
        let found = directory.find(&name("ann")).await;
        assert_unavailable(&found, PASSWORD, "refuses directory.bind_dn");
    }
    // Without a name nothing is seen there, not even the base: that is no "not there" of a user.
    let directory = ldap(LdapSource { bind: None, ..slapd.source() });
    assert_unavailable(&directory.find(&name("ann")).await, PASSWORD, "no such entry as");
}

#[tokio::test]
async fn a_server_that_another_authority_vouches_for_is_told_no_password() {
    let slapd = Slapd::start();
    let stranger = slapd.path("stranger.pem");
    std::fs::write(&stranger, Authority::named("stranger").pem).unwrap();
    for source in [slapd.source(), slapd.start_tls()] {
        for ca_file in [Some(stranger.clone()), None] {
            let directory = ldap(LdapSource { ca_file, ..source.clone() });
            assert_unavailable(&directory.find(&name("ann")).await, PASSWORD, "certificate");
        }
        // For the right authority, but another name.
        let directory = ldap(LdapSource { host: "localhost".into(), ..source });
        assert_unavailable(&directory.find(&name("ann")).await, PASSWORD, "certificate");
    }
}

#[tokio::test]
async fn in_the_clear_it_works_where_that_is_configured() {
    let slapd = Slapd::start();
    let source = LdapSource { security: LdapSecurity::None, ..slapd.start_tls() };
    assert_eq!(email(&ldap(source), "ann").await.as_deref(), Some("ann@example.com"));
}

#[tokio::test]
async fn a_server_that_stops_is_unavailable_and_one_that_is_there_again_is_asked_again() {
    let mut slapd = Slapd::start();
    let directory = ldap(slapd.source());
    assert_eq!(email(&directory, "ann").await.as_deref(), Some("ann@example.com"));
    slapd.stop();
    for user in ["ann", "nobody"] {
        assert_unavailable(&directory.find(&name(user)).await, "nobody", "the connection failed");
    }
    slapd.start_again();
    assert_eq!(email(&directory, "ann").await.as_deref(), Some("ann@example.com"));
    // Between two look-ups, so that only the kept connection is dead.
    slapd.stop();
    slapd.start_again();
    assert_eq!(email(&directory, "ann").await.as_deref(), Some("ann@example.com"));
    assert_eq!(directory.find(&name("nobody")).await.unwrap(), None);
}

#[tokio::test]
async fn a_server_that_hangs_holds_nobody_longer_than_the_time_limit() {
    let slapd = Slapd::start();
    let limits = DirectoryLimits { timeout: Duration::from_secs(2), cache_for: Duration::ZERO };
    let source = DirectorySource::Ldap(Box::new(slapd.source()));
    let directory = Directory::open(source, limits).unwrap();
    assert_eq!(email(&directory, "ann").await.as_deref(), Some("ann@example.com"));
    slapd.signal("STOP");
    let waiting: Vec<_> = (0..40)
        .map(|_| {
            let directory = directory.clone();
            tokio::spawn(async move { directory.find(&name("ann")).await })
        })
        .collect();
    for waiting in waiting {
        let found = tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap();
        assert_unavailable(&found, "ann", "no answer within 2s");
    }
    slapd.signal("CONT");
    // The connection on which nothing was answered is not kept.
    assert_eq!(email(&directory, "ann").await.as_deref(), Some("ann@example.com"));
}

#[tokio::test]
async fn many_ask_at_once_and_each_is_told_of_its_own() {
    let slapd = Slapd::start();
    let directory = ldap(slapd.start_tls());
    let asked: Vec<_> = (0..200)
        .map(|index| {
            let directory = directory.clone();
            let user = ["ann", "bob", "admin", "nobody"][index % 4];
            tokio::spawn(async move { (user, directory.find(&name(user)).await.unwrap()) })
        })
        .collect();
    for asked in asked {
        let (user, found) = asked.await.unwrap();
        let email = found.map(|person| person.email.unwrap().as_str().to_owned());
        let wanted = (user != "nobody").then(|| format!("{user}@example.com"));
        assert_eq!(email, wanted);
    }
}
