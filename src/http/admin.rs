//! `/admin/keys…`: the same steps as `resetd keys`, in the same words, for the keys of the caller's own
//! tenant; those of another one, where the tenant signs with them, can only be looked at. Private halves come in and never go out.

use std::path::Path as FilePath;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use resetd_verify::json::Value;
use resetd_verify::{Algorithm, Timestamp};
use serde_json::json;

use super::audited::{AboutKeys, OnlyPlanned};
use super::body::{JsonBody, JsonBodyOrNone, Members, text};
use super::caller::{ActingFor, CalledBy};
use super::observe::request_id;
use super::problem::{InvalidField, Problem, ProblemKind};
use crate::domain::rotation::{Change, Step, can_be_made};
use crate::domain::secret::Secret;
use crate::key_admin::{Done, KeyAdminError, KeyFolder, KeyFormat, RunningKeys, Source};

/// What an algorithm must be where a key is made.
const MADE_HERE: &str = "\"ES256\" or \"EdDSA\"";
/// The furthest ahead that a key is made, in seconds.
const A_YEAR: u64 = 365 * 24 * 60 * 60;
/// What a switch must be.
const SWITCH: &str = "true or false";

type Kid = Result<Path<String>, PathRejection>;

/// Whoever acts for a tenant that signs with another one's keys may look at them and change nothing.
pub(super) async fn of_own_keys(
    ActingFor(tenant): ActingFor,
    request: Request,
    next: Next,
) -> Response {
    if tenant.shares_keys() {
        let (owner, tenant) = (tenant.keys_owner().clone(), tenant.policy().tenant.clone());
        return Problem::from(KeyAdminError::Shared { tenant, owner }).into_response();
    }
    next.run(request).await
}

/// `GET /admin/keys`
pub(super) async fn list(
    State(keys): State<RunningKeys>,
    tenant: ActingFor,
) -> Result<Response, Problem> {
    let list = on_folder(keys, tenant, |folder, now| Ok(folder.list(now)?)).await?;
    Ok(Json(list).into_response())
}

/// `GET /admin/keys/{kid}`
pub(super) async fn show(
    State(keys): State<RunningKeys>,
    tenant: ActingFor,
    kid: Kid,
) -> Result<Response, Problem> {
    let kid = kid_in(kid)?;
    let (key, jwk) = on_folder(keys, tenant, move |folder, now| folder.show(&kid, now)).await?;
    let about = Extension(AboutKeys(vec![key.kid.clone()]));
    Ok((about, Json(json!({ "key": key, "jwk": jwk }))).into_response())
}

/// `GET /admin/keys/{kid}/export`: the public half, as PEM or, with `?format=jwk`, as a JWK.
pub(super) async fn export(
    State(keys): State<RunningKeys>,
    tenant: ActingFor,
    kid: Kid,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let (format, media_type) = match query.as_deref() {
        None | Some("format=pem") => (KeyFormat::Pem, "application/x-pem-file"),
        Some("format=jwk") => (KeyFormat::Jwk, "application/jwk+json"),
        Some(_) => {
            let fault = InvalidField::known("format", "wanted pem or jwk");
            return Err(Problem::invalid(vec![fault]));
        }
    };
    let kid = kid_in(kid)?;
    let work = move |folder: &KeyFolder, now| {
        let (key, _) = folder.show(&kid, now)?;
        Ok((folder.export_public(&kid, format)?, key.kid))
    };
    let (text, kid) = on_folder(keys, tenant, work).await?;
    let about = Extension(AboutKeys(vec![kid]));
    Ok(([(header::CONTENT_TYPE, media_type)], about, text).into_response())
}

/// `POST /admin/keys`
pub(super) async fn generate(
    State(keys): State<RunningKeys>,
    by: CalledBy,
    JsonBodyOrNone(body): JsonBodyOrNone,
) -> Result<Response, Problem> {
    let mut wish = Wish::of(&body)?;
    let algorithm = wish.made_here();
    let (signs_in, force) = (wish.signs_in(), wish.force());
    let dry_run = wish.finish()?;
    let step = move |folder: &KeyFolder| {
        let algorithm = algorithm.unwrap_or(folder.rules().algorithm);
        Ok(Step::Add { algorithm, signs_in, force })
    };
    carry_out(keys, by, step, dry_run).await
}

/// `POST /admin/keys/import`
pub(super) async fn import(
    State(keys): State<RunningKeys>,
    by: CalledBy,
    body: JsonBody,
) -> Result<Response, Problem> {
    let mut wish = Wish::of(&body)?;
    let key = wish.members.required("key", "a private key, PEM or JWK, as a string", secret);
    let passphrase = wish.members.optional("passphrase", "a string", secret);
    let parse = text(Algorithm::parse);
    let algorithm = wish.members.optional("algorithm", "\"RS256\" or \"PS256\"", parse);
    let (signs_in, force) = (wish.signs_in(), wish.force());
    let (dry_run, key) = wish.finish_with(key)?;
    let work = move |folder: &KeyFolder, now| {
        let (name, text) = (FilePath::new("key"), key.expose().as_bytes());
        let source = Source { name, text, algorithm, passphrase: passphrase.as_ref() };
        let algorithm = algorithm.unwrap_or(folder.rules().algorithm);
        let step = Step::Add { algorithm, signs_in, force };
        if dry_run {
            folder.dry_run(&step, Some(&source), now)
        } else {
            folder.carry_out(&step, Some(&source), None, now)
        }
    };
    change(keys, by, work).await
}

/// `POST /admin/keys/{kid}/activate`
pub(super) async fn activate(
    State(keys): State<RunningKeys>,
    by: CalledBy,
    kid: Kid,
    JsonBodyOrNone(body): JsonBodyOrNone,
) -> Result<Response, Problem> {
    let (kid, mut wish) = (kid_in(kid)?, Wish::of(&body)?);
    let force = wish.force();
    let dry_run = wish.finish()?;
    let step = move |folder: &KeyFolder| Ok(Step::Activate { kid: folder.kid(&kid)?, force });
    carry_out(keys, by, step, dry_run).await
}

/// `POST /admin/keys/{kid}/retire`
pub(super) async fn retire(
    State(keys): State<RunningKeys>,
    by: CalledBy,
    kid: Kid,
    JsonBodyOrNone(body): JsonBodyOrNone,
) -> Result<Response, Problem> {
    let (kid, mut wish) = (kid_in(kid)?, Wish::of(&body)?);
    let force = wish.force();
    let dry_run = wish.finish()?;
    let step = move |folder: &KeyFolder| Ok(Step::Retire { kid: folder.kid(&kid)?, force });
    carry_out(keys, by, step, dry_run).await
}

/// `POST /admin/keys/{kid}/revoke`
pub(super) async fn revoke(
    State(keys): State<RunningKeys>,
    by: CalledBy,
    kid: Kid,
    JsonBodyOrNone(body): JsonBodyOrNone,
) -> Result<Response, Problem> {
    let (kid, mut wish) = (kid_in(kid)?, Wish::of(&body)?);
    let algorithm = wish.made_here();
    let dry_run = wish.finish()?;
    let step = move |folder: &KeyFolder| {
        let algorithm = algorithm.unwrap_or(folder.rules().algorithm);
        Ok(Step::Revoke { kid: folder.kid(&kid)?, algorithm })
    };
    carry_out(keys, by, step, dry_run).await
}

/// `POST /admin/keys/rotate`
pub(super) async fn rotate(
    State(keys): State<RunningKeys>,
    by: CalledBy,
    JsonBodyOrNone(body): JsonBodyOrNone,
) -> Result<Response, Problem> {
    let mut wish = Wish::of(&body)?;
    let algorithm = wish.made_here();
    let dry_run = wish.finish()?;
    let step = move |folder: &KeyFolder| {
        Ok(Step::Rotate { algorithm: algorithm.unwrap_or(folder.rules().algorithm) })
    };
    carry_out(keys, by, step, dry_run).await
}

/// `POST /admin/keys/prune`
pub(super) async fn prune(
    State(keys): State<RunningKeys>,
    by: CalledBy,
    JsonBodyOrNone(body): JsonBodyOrNone,
) -> Result<Response, Problem> {
    let dry_run = Wish::of(&body)?.finish()?;
    carry_out(keys, by, |_: &KeyFolder| Ok(Step::Prune), dry_run).await
}

async fn carry_out(
    keys: RunningKeys,
    by: CalledBy,
    step: impl FnOnce(&KeyFolder) -> Result<Step, KeyAdminError> + Send + 'static,
    dry_run: bool,
) -> Result<Response, Problem> {
    let work = move |folder: &KeyFolder, now| {
        let step = step(folder)?;
        if dry_run {
            folder.dry_run(&step, None, now)
        } else {
            folder.carry_out(&step, None, None, now)
        }
    };
    change(keys, by, work).await
}

/// What was done is logged and in force in this process before it is answered, and also where nobody
/// waits for the answer any more: a client that hangs up ends its handler, but no work on a folder.
async fn change(
    keys: RunningKeys,
    by: CalledBy,
    work: impl FnOnce(&KeyFolder, Timestamp) -> Result<Done, KeyAdminError> + Send + 'static,
) -> Result<Response, Problem> {
    let (running, tenant, request_id) = (keys.clone(), ActingFor(by.tenant.clone()), request_id());
    let work = move |folder: &KeyFolder, now| {
        let done = work(folder, now)?;
        if !done.dry_run {
            log(&done, &by, request_id.as_deref());
            running.reload();
        }
        Ok(done)
    };
    let done = on_folder(keys, tenant, work).await?;
    let has_added = !done.dry_run && done.plan.adds();
    let status = if has_added { StatusCode::CREATED } else { StatusCode::OK };
    let planned = done.dry_run.then_some(Extension(OnlyPlanned));
    Ok((status, planned, Extension(about(&done)), Json(done)).into_response())
}

/// The keys that a step added, changed or removed.
fn about(done: &Done) -> AboutKeys {
    let removed =
        done.plan.changes.iter().filter_map(|change| {
            if let Change::Remove { kid } = change { Some(kid) } else { None }
        });
    AboutKeys(done.keys.iter().map(|key| &key.kid).chain(removed).cloned().collect())
}

/// Says by itself who did it: there is no line of the request where its client hung up.
fn log(done: &Done, by: &CalledBy, request_id: Option<&str>) {
    let (caller, tenant) = (by.caller.as_str(), by.tenant.policy().tenant.as_str());
    let breaks = done.plan.destructive;
    for change in &done.plan.changes {
        if let Change::Remove { kid } = change {
            tracing::info!(request_id, caller, tenant, %kid, "a key was removed");
        }
    }
    for key in &done.keys {
        let (kid, state) = (&key.kid, key.state);
        tracing::info!(request_id, caller, tenant, %kid, %state, breaks, "a key was changed");
    }
}

/// Files are read and written on a thread that may wait.
async fn on_folder<T: Send + 'static>(
    keys: RunningKeys,
    ActingFor(tenant): ActingFor,
    work: impl FnOnce(&KeyFolder, Timestamp) -> Result<T, KeyAdminError> + Send + 'static,
) -> Result<T, Problem> {
    let work = move || {
        let folder = keys.folder(&tenant)?;
        Some(work(folder, keys.now()))
    };
    let done = on_disk(work).await?.ok_or_else(|| Problem::new(ProblemKind::Internal))?;
    Ok(done?)
}

async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| Problem::new(ProblemKind::Internal))
}

fn kid_in(kid: Kid) -> Result<String, Problem> {
    kid.map(|Path(kid)| kid).map_err(|_| Problem::new(ProblemKind::KeyUnknown))
}

/// The members of a body that says how a step is wished for.
struct Wish<'b> {
    members: Members<'b>,
    dry_run: bool,
}

impl<'b> Wish<'b> {
    fn of(body: &'b JsonBody) -> Result<Self, Problem> {
        let mut members = Members::of(body)?;
        let dry_run = members.optional("dryRun", SWITCH, switch).unwrap_or_default();
        Ok(Self { members, dry_run })
    }

    fn force(&mut self) -> bool {
        self.members.optional("force", SWITCH, switch).unwrap_or_default()
    }

    fn signs_in(&mut self) -> Option<u64> {
        let wanted = "whole seconds, 0 to 31536000";
        self.members.optional("signsInSeconds", wanted, |value| {
            let Value::Integer(seconds) = value else { return None };
            u64::try_from(*seconds).ok().filter(|seconds| *seconds <= A_YEAR)
        })
    }

    fn made_here(&mut self) -> Option<Algorithm> {
        let parse = |name: &str| Algorithm::parse(name).filter(|it| can_be_made(*it));
        self.members.optional("algorithm", MADE_HERE, text(parse))
    }

    /// Whether it is only a plan.
    fn finish(self) -> Result<bool, Problem> {
        self.members.finish(Some(self.dry_run))
    }

    fn finish_with<T>(self, value: Option<T>) -> Result<(bool, T), Problem> {
        let dry_run = self.dry_run;
        self.members.finish(value).map(|value| (dry_run, value))
    }
}

fn switch(value: &Value<'_>) -> Option<bool> {
    if let Value::Bool(switch) = value { Some(*switch) } else { None }
}

fn secret(value: &Value<'_>) -> Option<Secret> {
    value.as_str().map(Secret::new)
}
