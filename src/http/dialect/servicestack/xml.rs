//! Reads the XML of a request: one root, members in it, text in these. Whatever could name, fetch or multiply
//! anything is refused: document types, entities but the five of XML, processing instructions.

use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesDecl, BytesRef, BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use super::members::{Pair, Unreadable};

const UNREADABLE: Unreadable = Unreadable("The body is not well-formed XML.");
/// Elements in each other; the requests that are known here have two.
const MAX_DEPTH: usize = 4;
/// Attributes of one element. Each is compared with all before it.
const MAX_ATTRIBUTES: usize = 16;

/// The members in the root, which has the name of the operation in whichever namespace; nothing for those with
/// elements in them. Those that are nil are left out.
pub(super) fn read(text: &str, root: &str) -> Result<Vec<Pair>, Unreadable> {
    let mut reader = Reader::from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    let mut document = Document { root, open: Vec::new(), is_over: false, members: Vec::new() };
    loop {
        match reader.read_event().map_err(|_| UNREADABLE)? {
            Event::Decl(declaration) => document.begin(&declaration)?,
            Event::Start(start) => document.open(&start)?,
            Event::Empty(start) => {
                document.open(&start)?;
                document.close();
            }
            Event::End(_) => document.close(),
            Event::Text(text) => document.text(&text.xml_content(XmlVersion::Implicit1_0))?,
            Event::CData(_) if document.open.is_empty() => return Err(UNREADABLE),
            Event::CData(text) => document.text(&text.xml_content(XmlVersion::Implicit1_0))?,
            Event::GeneralRef(reference) => document.refer(&reference)?,
            Event::Comment(_) => {}
            Event::DocType(_) => return Err(Unreadable("A document type is not taken.")),
            Event::PI(_) => return Err(Unreadable("A processing instruction is not taken.")),
            Event::Eof => return document.end(),
        }
    }
}

/// What was read so far.
struct Document<'r> {
    root: &'r str,
    /// The elements that are open, outermost first.
    open: Vec<Element>,
    is_over: bool,
    members: Vec<Pair>,
}

struct Element {
    name: String,
    text: String,
    is_nil: bool,
    has_elements: bool,
}

impl Document<'_> {
    fn begin(&self, declaration: &BytesDecl<'_>) -> Result<(), Unreadable> {
        let is_first = self.open.is_empty() && !self.is_over;
        let is_utf8 = match declaration.encoding() {
            None => true,
            Some(encoding) => encoding.is_ok_and(|it| it.eq_ignore_ascii_case("utf-8")),
        };
        let is_version_1 = declaration.version().is_ok_and(|version| version.as_ref() == "1.0");
        if is_first && is_utf8 && is_version_1 {
            Ok(())
        } else {
            Err(Unreadable("The body is not XML 1.0 in UTF-8."))
        }
    }

    fn open(&mut self, start: &BytesStart<'_>) -> Result<(), Unreadable> {
        let name = start.name();
        let name = local(name.as_ref());
        if self.is_over || (self.open.is_empty() && name != self.root) {
            return Err(Unreadable("The root of the body is not the operation."));
        }
        if self.open.len() == MAX_DEPTH {
            return Err(Unreadable("The body is nested too deeply."));
        }
        if let Some(parent) = self.open.last_mut() {
            parent.has_elements = true;
        }
        let (name, text, is_nil) = (name.to_owned(), String::new(), is_nil(start)?);
        self.open.push(Element { name, text, is_nil, has_elements: false });
        Ok(())
    }

    fn close(&mut self) {
        let Some(Element { name, text, is_nil, has_elements }) = self.open.pop() else { return };
        match self.open.len() {
            0 => self.is_over = true,
            1 if !is_nil => self.members.push((name, (!has_elements).then_some(text))),
            _ => {}
        }
    }

    /// Outside of the root there is white space only.
    fn text(&mut self, text: &str) -> Result<(), Unreadable> {
        let is_blank = text.bytes().all(|b| b.is_ascii_whitespace());
        match self.open.last_mut() {
            Some(element) => element.text.push_str(text),
            None if is_blank => {}
            None => return Err(UNREADABLE),
        }
        Ok(())
    }

    fn refer(&mut self, reference: &BytesRef<'_>) -> Result<(), Unreadable> {
        let element = self.open.last_mut().ok_or(UNREADABLE)?;
        if let Some(character) = reference.resolve_char_ref().map_err(|_| UNREADABLE)? {
            element.text.push(character);
        } else {
            let name: &str = reference.as_ref();
            let unknown = Unreadable("An entity is not one of the five of XML.");
            element.text.push_str(resolve_xml_entity(name).ok_or(unknown)?);
        }
        Ok(())
    }

    fn end(self) -> Result<Vec<Pair>, Unreadable> {
        if self.is_over { Ok(self.members) } else { Err(UNREADABLE) }
    }
}

/// A name without the prefix of its namespace.
fn local(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(_, name)| name)
}

/// Whether an element says that it is nothing: `i:nil="true"`.
fn is_nil(start: &BytesStart<'_>) -> Result<bool, Unreadable> {
    let mut found = false;
    for (number, attribute) in start.attributes().enumerate() {
        let attribute = attribute.map_err(|_| UNREADABLE)?;
        if number == MAX_ATTRIBUTES {
            return Err(Unreadable("An element has too many attributes."));
        }
        let value: &str = attribute.value.as_ref();
        let is_nil = local(attribute.key.as_ref()) == "nil";
        found |= is_nil && ["true", "1"].contains(&value);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(inside: &str) -> Result<Vec<Pair>, Unreadable> {
        read(&format!("<Op>{inside}</Op>"), "Op")
    }

    fn pair(name: &str, value: &str) -> Pair {
        (name.into(), Some(value.into()))
    }

    #[test]
    fn members_are_read_in_any_order_and_namespace() {
        let text = "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n<!-- a --><a:Op xmlns:i=\"http://www.w3.org/2001/XMLSchema-instance\" xmlns:a=\"urn:a\">\n <a:B>b&amp;&#x63;<![CDATA[<d>]]></a:B><A i:nil=\"true\"/><A/><C><D>x</D></C>\n</a:Op>\n";
        assert_eq!(
            read(text, "Op").unwrap(),
            [pair("B", "b&c<d>"), pair("A", ""), ("C".into(), None)]
        );
        assert_eq!(read("<Op/>", "Op").unwrap(), []);
        assert_eq!(members("<A>a\r\nb</A>").unwrap(), [pair("A", "a\nb")]);
    }

    #[test]
    fn what_could_name_fetch_or_multiply_anything_is_refused() {
        for text in [
            "<!DOCTYPE Op><Op/>",
            "<!DOCTYPE Op SYSTEM \"http://127.0.0.1/x\"><Op/>",
            "<!DOCTYPE Op [<!ENTITY a SYSTEM \"file:///etc/passwd\">]><Op><A>&a;</A></Op>",
            "<!DOCTYPE Op [<!ENTITY % a SYSTEM \"http://127.0.0.1/x\"> %a;]><Op/>",
            "<!DOCTYPE Op [<!ENTITY a \"aa\"><!ENTITY b \"&a;&a;\">]><Op><A>&b;</A></Op>",
            "<Op><!DOCTYPE Op><A>a</A></Op>",
            "<Op/><!DOCTYPE Op>",
            "<Op><A>&a;</A></Op>",
            "<Op><A>&nbsp;</A></Op>",
            "<?xml-stylesheet href=\"http://127.0.0.1/x\"?><Op/>",
            "<Op><?php 1 ?></Op>",
            "<?xml version=\"1.0\" encoding=\"utf-16\"?><Op/>",
            "<?xml version=\"1.1\"?><Op/>",
            "<Op><A><B><C><D/></C></B></A></Op>",
        ] {
            assert!(read(text, "Op").is_err(), "{text}");
        }
        assert!(members(&"<A>".repeat(20_000)).is_err());
        let many: Vec<_> = (0..6_000).map(|number| format!(" a{number}=\"\"")).collect();
        assert!(members(&format!("<A{}/>", many.concat())).is_err());
    }

    #[test]
    fn what_is_not_one_well_formed_root_of_this_name_is_refused() {
        for text in [
            "",
            "x",
            "<Op>",
            "<Op><A></Op>",
            "<Op></A></Op>",
            "</Op>",
            "<Op/><Op/>",
            "<Op/>x",
            "x<Op/>",
            "<Op/>&amp;",
            "<![CDATA[x]]><Op/>",
            "<op/>",
            "<Other/>",
            "<Op><A b=\"1\" b=\"2\"/></Op>",
            "<Op><A>&amp</A></Op>",
            "<Op><A>&#0;</A></Op>",
            "<Op><A>&#xd800;</A></Op>",
            "<Op/><?xml version=\"1.0\"?>",
        ] {
            assert!(read(text, "Op").is_err(), "{text}");
        }
    }
}
