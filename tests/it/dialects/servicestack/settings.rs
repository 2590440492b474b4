//! `[servicestack]`: what cannot work is refused at the start, with the mend.

use resetd::config::{Config, Layers};

const LINK: &str = "link.template = \"https://app.example.com/reset#{token}\"\n";
const REVEALING: &str =
    "directory = { kind = \"file\", file = \"people.toml\", reveal_unknown_users = true }\n";
const ON: &str = "[servicestack]\nenabled = true\n";

fn config(text: &str) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("settings.toml");
    std::fs::write(&path, text).unwrap();
    let mut layers = Layers::defaults().unwrap();
    let read = layers.add_file(&path).and_then(|()| Config::from_layers(&layers));
    read.map_err(|error| error.to_string().replace(&format!("{}/", folder.path().display()), ""))
}

#[test]
fn what_cannot_work_is_refused_with_the_mend() {
    let acme = "[tenants.acme]\naudience = \"acme\"\n";
    for (text, wanted) in [
        (
            ON.to_owned(),
            "settings.toml:2: servicestack.enabled: is true, and it is not known where the links of the tenant \"default\" lead; set link.template, or page.enabled = true",
        ),
        (
            format!("{LINK}mail.transport = \"off\"\n{ON}"),
            "settings.toml:4: servicestack.enabled: is true, and mail.transport is \"off\", so no link could be sent; set it to \"smtp\", or to \"maildir\" to try it",
        ),
        (
            format!("{LINK}{ON}public = true\n"),
            "settings.toml:4: servicestack.public: is true, and the tenant \"default\" has no directory: anybody could have its links sent to any address; set directory.kind, or false",
        ),
        (
            format!("{LINK}{REVEALING}{ON}public = true\n"),
            "settings.toml:5: servicestack.public: is true, and directory.reveal_unknown_users is true too: anybody could learn who is a user; set one of them to false",
        ),
        (
            format!("{LINK}{acme}{ON}subdomains = {{ acme = \"acme\" }}\n"),
            "settings.toml:5: servicestack.enabled: is true, and it is not known where the links of the tenant \"acme\" lead; set tenants.acme.link.template, or tenants.acme.page.enabled = true",
        ),
        (
            format!("{LINK}{ON}json_names = \"kebab\"\n"),
            "settings.toml:4: servicestack.json_names: wanted \"pascal\" or \"camel\", found \"kebab\"",
        ),
        (
            format!("{LINK}{ON}appliances = {{ x = \"default\" }}\n"),
            "settings.toml:4: servicestack.appliances.x: wanted a GUID such as \"6f9619ff-8b86-4d01-b42d-00cf4fc964ff\", found \"x\"",
        ),
        (
            format!("{LINK}{ON}suites = {{ {} = \"default\" }}\n", "0".repeat(32)),
            "settings.toml:4: servicestack.suites.00000000000000000000000000000000: is what clients send that name none; wanted another GUID, and the tenant of those in servicestack.tenant",
        ),
        (
            format!("{LINK}{ON}subdomains = {{ shop = \"acme\" }}\n"),
            "settings.toml:4: servicestack.subdomains.shop: no tenant \"acme\" is configured, there is \"default\"",
        ),
        (
            format!("{LINK}{ON}subdomains = {{ Shop = \"default\", shop = \"default\" }}\n"),
            "settings.toml:4: servicestack.subdomains.shop: wanted a name that no other differs from by case only, found \"shop\"",
        ),
    ] {
        assert_eq!(config(&text).map(drop).unwrap_err(), wanted, "{text}");
    }
}

#[test]
fn every_tenant_that_a_request_can_mean_needs_what_the_first_one_needs() {
    let directory = "directory = { kind = \"file\", file = \"people.toml\" }\n";
    let acme = "[tenants.acme]\naudience = \"acme\"\nlink = { template = \"https://acme.example/#{token}\" }\n";
    let mapped = "[servicestack.appliances]\n6f9619ff-8b86-4d01-b42d-00cf4fc964ff = \"acme\"\n";
    let open = format!("{LINK}{directory}{acme}{ON}public = true\n{mapped}");
    let refused = config(&open).map(drop).unwrap_err();
    assert!(refused.contains("\"acme\" has no directory"), "{refused}");
    let acme = format!("{acme}{directory}");
    let dialect = config(&format!("{LINK}{directory}{acme}{ON}public = true\n{mapped}"));
    let dialect = dialect.unwrap().dialects.servicestack.unwrap();
    assert!(dialect.is_public);
    let tenants: Vec<_> = dialect.tenants().map(ToString::to_string).collect();
    assert_eq!(tenants, ["default", "acme"]);
}

#[test]
fn a_page_for_people_is_a_place_for_links_too() {
    let page = "page = { enabled = true, continue_url = \"https://app.example.com/#{token}\" }\n";
    assert!(config(&format!("{page}{ON}")).unwrap().dialects.servicestack.is_some());
    assert!(config("").unwrap().dialects.servicestack.is_none());
}
