//! The one private key in a PEM text (RFC 7468), for `import.rs`.

use pkcs8::der::pem::Decoder;
use zeroize::Zeroizing;

use crate::domain::secret::Secret;
use crate::keystore::error::ImportError;
use crate::keystore::private::{PrivateKey, Wiped};
use crate::keystore::{der, seal};

const BEGIN: &str = "-----BEGIN ";

/// A PEM block with its two lines around it.
struct Block<'a> {
    label: &'a str,
    text: &'a str,
}

/// Reads the key.
pub(super) fn read(text: &[u8], passphrase: Option<&Secret>) -> Result<PrivateKey, ImportError> {
    let text = str::from_utf8(text).map_err(|_| ImportError::NotAKey)?;
    let block = only_block(text)?;
    match block.label {
        "PRIVATE KEY" => der::read_pkcs8(&decode(&block)?),
        "EC PRIVATE KEY" => der::read_sec1(&decode(&block)?),
        "RSA PRIVATE KEY" => der::read_pkcs1(&decode(&block)?),
        "ENCRYPTED PRIVATE KEY" => {
            let passphrases = passphrase.map(std::slice::from_ref).unwrap_or_default();
            der::read_pkcs8(&seal::open(&decode(&block)?, passphrases)?.der)
        }
        "PUBLIC KEY" | "RSA PUBLIC KEY" => Err(ImportError::NotPrivate { found: "a public key" }),
        "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE" => {
            Err(ImportError::NotPrivate { found: "a certificate" })
        }
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => {
            Err(ImportError::NotPrivate { found: "a request for a certificate" })
        }
        "EC PARAMETERS" => Err(ImportError::NotPrivate { found: "the parameters of a curve" }),
        other => Err(ImportError::OtherBlock { label: shown(other) }),
    }
}

/// OpenSSL's `ecparam -genkey` writes the curve in a block of its own before the key, which names it
/// again. Any other second block means that somebody has to decide which one is meant.
fn only_block(text: &str) -> Result<Block<'_>, ImportError> {
    let mut blocks = blocks(text)?;
    if blocks.len() == 2 && blocks[0].label == "EC PARAMETERS" {
        blocks.remove(0);
    }
    match blocks.len() {
        0 => Err(ImportError::NotAKey),
        1 => Ok(blocks.remove(0)),
        found => Err(ImportError::Several { found }),
    }
}

/// Text before a block may explain it (RFC 7468 §5.2). After the last one it may be half a block.
fn blocks(text: &str) -> Result<Vec<Block<'_>>, ImportError> {
    let (mut blocks, mut rest) = (Vec::new(), text);
    while let Some((_, body)) = rest.split_once(BEGIN) {
        let cut_off = || ImportError::CutOff { label: shown(body) };
        let (label, _) = body.split_once("-----").ok_or_else(cut_off)?;
        let end = format!("-----END {label}-----");
        let length = body.find(&end).ok_or_else(cut_off)? + end.len();
        let (inside, after) = body.split_at(length);
        if inside.contains(BEGIN) {
            return Err(cut_off());
        }
        let start = rest.len() - body.len() - BEGIN.len();
        blocks.push(Block { label, text: &rest[start..][..BEGIN.len() + length] });
        rest = after;
    }
    if !blocks.is_empty() && !rest.trim().is_empty() {
        return Err(ImportError::TextAfter);
    }
    Ok(blocks)
}

fn decode(block: &Block<'_>) -> Result<Wiped, ImportError> {
    if block.text.contains("Proc-Type:") {
        return Err(ImportError::LegacyEncryption);
    }
    let faulty = |error| ImportError::Pem { label: shown(block.label), error };
    let mut decoder = Decoder::new_detect_wrap(block.text.as_bytes()).map_err(faulty)?;
    let mut bytes = Zeroizing::new(vec![0; decoder.remaining_len()]);
    decoder.decode(&mut bytes).map_err(faulty)?;
    Ok(bytes)
}

/// As much of a label as can be one: the text behind it may be a key.
fn shown(label: &str) -> String {
    let is_of_label = |c: &char| c.is_ascii_uppercase() || c.is_ascii_digit() || *c == ' ';
    label.chars().take_while(is_of_label).take(32).collect()
}
