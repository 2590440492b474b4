//! What is wrong with a template, found before the first mail: each one is rendered with made-up values.

use resetd_verify::Timestamp;

use super::{About, Kind, Part, TemplateError, Templates, VALUES, Values, name_of, write_html};
use crate::domain::identifier::Username;
use crate::domain::language::Language;
use crate::domain::secret::Secret;

/// A link as the templates are tried with: it has what HTML escapes.
const LINK: &str = "https://app.example.com/reset?for=you&token=made-up";
/// Times left in a mail, in seconds: one minute, some, and many.
const LIVES: [u64; 3] = [60, 900, 86_400];
/// 26 November 2026, 12:00 UTC.
const NOW: u64 = 1_795_694_400;

impl Templates {
    pub(super) fn check(&self) -> Result<(), TemplateError> {
        for kind in Kind::ALL {
            for language in self.languages(kind) {
                for part in Part::ALL {
                    self.check_names(kind, &name_of(kind, language, part))?;
                }
                self.check_rendered(kind, language)?;
            }
        }
        Ok(())
    }

    /// Names in branches that no made-up value leads to are looked at, too.
    fn check_names(&self, kind: Kind, name: &str) -> Result<(), TemplateError> {
        let known: Vec<_> = VALUES
            .iter()
            .filter(|(_, kinds)| kinds.contains(&kind))
            .map(|(name, _)| *name)
            .collect();
        let template = self.0.environment.get_template(name);
        let template = template.map_err(|error| self.0.files.fault(name, &error))?;
        let mut named: Vec<_> = template.undeclared_variables(false).into_iter().collect();
        named.sort();
        let is_function = |name: &str| self.0.environment.globals().any(|(known, _)| known == name);
        let Some(unknown) =
            named.iter().find(|name| !known.contains(&name.as_str()) && !is_function(name))
        else {
            return Ok(());
        };
        let line = template.source().lines().position(|line| line.contains(unknown.as_str()));
        let nearest = known.iter().min_by_key(|known| strsim::levenshtein(known, unknown));
        let meant = nearest.filter(|nearest| strsim::levenshtein(nearest, unknown) <= 3);
        let meant = meant.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
        let problem = format!(
            "there is no value {unknown:?} in this mail, there are {}{meant}",
            known.join(", ")
        );
        Err(self.0.files.error(name, line.map(|line| line + 1), problem))
    }

    fn check_rendered(&self, kind: Kind, language: &Language) -> Result<(), TemplateError> {
        let Some(username) = Username::parse("ann@example.com") else {
            return Ok(());
        };
        for about in made_up(kind) {
            let values = Values { username: &username, product: "Example", about };
            let context = values.context();
            let [subject, text, html] = Part::ALL.map(|part| name_of(kind, language, part));
            let render = |name: &str| self.render_part(name, &context);
            let refuse = |name: &str, problem: &str| Err(self.0.files.error(name, None, problem));
            match render(&subject)?.trim() {
                "" => return refuse(&subject, "wanted one line, found nothing"),
                line if line.contains('\n') => {
                    return refuse(&subject, "wanted one line, found more");
                }
                _ => {}
            }
            let mut escaped = String::new();
            let _ = write_html(&mut escaped, LINK);
            for (name, link) in [(&text, LINK), (&html, escaped.as_str())] {
                if !render(name)?.contains(link) && kind == Kind::Reset {
                    return refuse(name, "has no {{ link }}, so nobody could follow it; add it");
                }
            }
        }
        Ok(())
    }
}

fn made_up(kind: Kind) -> Vec<About> {
    let now = Timestamp::from_seconds(NOW);
    match kind {
        Kind::Reset => LIVES
            .map(|life| About::Reset { link: Secret::new(LINK), expires: now.plus(life), now })
            .into(),
        Kind::Redeemed => vec![About::Redeemed { at: now }],
    }
}
