//! Users as a table with commas (RFC 4180): a row of names, then a row for each user.

use super::{FIELDS, Fault, Row};

/// What stands between several values in one field.
const BETWEEN: char = ';';

pub(super) fn rows(text: &str) -> Result<Vec<Row>, Fault> {
    let mut reader = Reader { text, at: 0 };
    let Some((at, head)) = reader.record()? else {
        return Err(Fault::new(0, format!("wanted a row of names, some of {}", FIELDS.join(","))));
    };
    check_head(at, &head)?;
    let mut rows = Vec::new();
    while let Some((at, fields)) = reader.record()? {
        rows.push(row(at, &head, fields)?);
    }
    Ok(rows)
}

fn check_head(at: usize, head: &[String]) -> Result<(), Fault> {
    let is_twice = |index: usize| head[..index].contains(&head[index]);
    let is_known = |name: &String| FIELDS.contains(&name.as_str());
    let is_good = head.iter().all(is_known) && !(0..head.len()).any(is_twice);
    if is_good && head.iter().any(|name| name == "username") {
        return Ok(());
    }
    let wanted = FIELDS.join(",");
    Err(Fault::new(
        at,
        format!("wanted a row of names, username and some more of {wanted}, each once"),
    ))
}

fn row(at: usize, head: &[String], fields: Vec<String>) -> Result<Row, Fault> {
    if fields.len() != head.len() {
        let (wanted, found) = (head.len(), fields.len());
        let problem = format!(
            "wanted {wanted} fields as in the first row, found {found}; a field with a comma in it stands in quotes"
        );
        return Err(Fault::new(at, problem));
    }
    let mut row = Row { at, ..Row::default() };
    for (name, field) in head.iter().zip(fields).filter(|(_, field)| !field.is_empty()) {
        match name.as_str() {
            "username" => row.username = Some(field),
            "email" => row.email = Some(field),
            "user_id" => row.user_id = Some(field),
            "credential_id" => row.credential_id = Some(field),
            "language" => row.language = Some(field),
            "identity_providers" => {
                row.identity_providers = field.split(BETWEEN).map(String::from).collect();
            }
            _ => row.enabled = Some(flag(&field).ok_or_else(|| Fault::new(at, FLAG_WANTED))?),
        }
    }
    Ok(row)
}

const FLAG_WANTED: &str = "enabled: wanted true or false, or nothing for true";

fn flag(field: &str) -> Option<bool> {
    match field {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl Reader<'_> {
    /// The next row that is not empty, and where it begins.
    fn record(&mut self) -> Result<Option<(usize, Vec<String>)>, Fault> {
        while self.takes("\r\n") || self.takes("\n") {}
        let begin = self.at;
        if self.rest().is_empty() {
            return Ok(None);
        }
        let mut fields = Vec::new();
        loop {
            fields.push(if self.takes("\"") { self.quoted(begin)? } else { self.plain(begin)? });
            if self.takes(",") {
                continue;
            }
            if self.takes("\r\n") || self.takes("\n") {
                return Ok(Some((begin, fields)));
            }
            if self.rest().is_empty() {
                let problem = "the file ends in this row, and may have been cut off; wanted an end of line behind the last row";
                return Err(Fault::new(begin, problem));
            }
            let problem = "wanted a comma or the end of the row after a quoted field";
            return Err(Fault::new(begin, problem));
        }
    }

    fn plain(&mut self, begin: usize) -> Result<String, Fault> {
        let rest = self.rest();
        let end = rest.find([',', '\n']).unwrap_or(rest.len());
        let line = rest[..end].strip_suffix('\r');
        let field = line.filter(|_| rest[end..].starts_with('\n')).unwrap_or(&rest[..end]);
        if field.contains('"') {
            let problem = "found a quote inside a field; wanted the whole field in quotes, and each quote in it twice";
            return Err(Fault::new(begin, problem));
        }
        let field = field.to_owned();
        self.at += field.len();
        Ok(field)
    }

    /// After its first quote.
    fn quoted(&mut self, begin: usize) -> Result<String, Fault> {
        let mut field = String::new();
        loop {
            let Some(end) = self.rest().find('"') else {
                return Err(Fault::new(begin, "found no end of a field that begins with a quote"));
            };
            field.push_str(&self.rest()[..end]);
            self.at += end + 1;
            if !self.takes("\"") {
                return Ok(field);
            }
            field.push('"');
        }
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn takes(&mut self, mark: &str) -> bool {
        let is_there = self.rest().starts_with(mark);
        if is_there {
            self.at += mark.len();
        }
        is_there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Vec<String>> {
        let mut reader = Reader { text, at: 0 };
        let mut records = Vec::new();
        while let Some((_, fields)) = reader.record().map_err(|fault| fault.problem).unwrap() {
            records.push(fields);
        }
        records
    }

    #[test]
    fn fields_are_read_as_the_rfc_has_them() {
        assert_eq!(read("a,b\r\nc,d\n"), [["a", "b"], ["c", "d"]]);
        assert_eq!(read("\n\na,\n\n,b\n"), [["a", ""], ["", "b"]]);
        assert_eq!(read("\"a,\"\"b\"\"\r\nc\",d\n"), [["a,\"b\"\r\nc", "d"]]);
        assert_eq!(read("\"\",x\r\n"), [["", "x"]]);
        assert_eq!(read(""), Vec::<Vec<String>>::new());
    }

    #[test]
    fn what_two_programs_could_read_differently_is_refused() {
        for text in ["a\"b,c\n", "\"a\"b,c\n", "\"a\n", "\"a\" ,b\n", "a,\"b\nc\n"] {
            let mut reader = Reader { text, at: 0 };
            assert!(reader.record().is_err(), "{text}");
        }
    }

    #[test]
    fn no_part_of_a_row_is_a_row() {
        let text = "username,email,enabled\r\nann,\"ann@example.com\",false\r\n";
        let first_row = text.find("ann").unwrap();
        for end in (0..text.len()).filter(|&end| end != first_row) {
            assert!(rows(&text[..end]).is_err(), "{:?}", &text[..end]);
        }
        assert!(rows(text).is_ok());
    }

    #[test]
    fn a_row_is_as_long_as_the_first() {
        for text in [
            "username,email\nann\n",
            "username\nann,x\n",
            "email\na@b.c\n",
            "username,Email\n",
            "username,username\n",
            "username;email\n",
            "",
        ] {
            assert!(rows(text).is_err(), "{text}");
        }
    }
}
