// The page for people: what a link is worth, and what its holder wants to do about it.
//
// It asks about the token and does nothing with it until a person presses a button, since scanners of mail
// run scripts too. All texts stand in the document, as templates that are named by the code of a problem.
'use strict';

(() => {
  const view = document.getElementById('view');
  const status = document.getElementById('status');
  const product = document.querySelector('header')?.textContent.trim();

  /** The longest wait for an answer, in milliseconds. */
  const PATIENCE = 15000;

  /**
   * The link that this page is about: its `token`; the `state` that it was last seen in, with what is told of
   * it if that was `live`; what was done `latest`, to be tried again; whether it `isBusy`. Another link in the
   * same window is another object, so nothing that was begun for one goes on with the token of another.
   */
  let link;

  /** The token in the address: at the end of the fragment, or as the value of a parameter. */
  function tokenInAddress() {
    const values = new URLSearchParams(location.search).values();
    const ends = [location.hash, ...values].map((text) => text.split(/[^\w.-]/).pop());
    return ends.find((end) => /^[\w-]+\.[\w-]+\.[\w-]+$/.test(end));
  }

  /**
   * Neither the address bar, nor the way back, nor a copied address has it from here on. What the browser
   * wrote down of the visit before this ran is out of reach: its list of visited addresses keeps the token.
   */
  function clearAddress() {
    history.replaceState(null, '', location.pathname);
  }

  /** Posts the token of a link: the answer, or the code of what is wrong. It arrives though the page is left. */
  async function post(path, { token }) {
    try {
      const answer = await fetch(path, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ token }),
        cache: 'no-store',
        credentials: 'omit',
        redirect: 'error',
        keepalive: true,
        signal: AbortSignal.timeout?.(PATIENCE),
      });
      const body = await answer.json();
      return answer.ok ? { body } : { code: body.code };
    } catch {
      return { code: 'failed' };
    }
  }

  /** Shows a template. What a person asked for gets the focus, what came by itself is only spoken. */
  function show(name, isAsked) {
    const named = document.getElementById(name);
    const template = named instanceof HTMLTemplateElement ? named : document.getElementById('failed');
    const content = template.content.cloneNode(true);
    fill(content);
    view.replaceChildren(content);
    const headline = view.querySelector('h1');
    document.title = product ? `${headline.textContent} – ${product}` : headline.textContent;
    status.textContent = isAsked ? '' : headline.textContent;
    if (isAsked) {
      headline.tabIndex = -1;
      headline.focus();
    }
  }

  function fill(content) {
    for (const place of content.querySelectorAll('[data-is]')) {
      const value = link.live[place.dataset.is];
      if (place instanceof HTMLTimeElement) {
        place.dateTime = value;
        place.textContent = localTime(new Date(value));
      } else {
        place.textContent = value;
      }
    }
  }

  function localTime(time) {
    const style = { dateStyle: 'long', timeStyle: 'short' };
    return new Intl.DateTimeFormat(document.documentElement.lang, style).format(time);
  }

  /**
   * Does something about a link and shows what came of it, unless another link is open by then. Nothing can
   * be pressed until then: a second press is the same press.
   */
  async function work(of, what, isAsked) {
    of.isBusy = true;
    of.latest = what;
    view.setAttribute('aria-busy', 'true');
    status.textContent = status.dataset.working;
    const name = await what(of);
    of.isBusy = false;
    if (of !== link) return;
    view.removeAttribute('aria-busy');
    try {
      show(name, isAsked);
    } catch {
      // Something that is not this service answered.
      show('failed', isAsked);
    }
  }

  /** What a link is worth. */
  async function check(of) {
    const { body, code } = await post('reset/check', of);
    of.live = body;
    of.state = code ?? 'live';
    return of.state;
  }

  /**
   * Switches a link off. That is answered alike for every token, so what became of this one is asked for:
   * somebody may have used it.
   */
  async function disown(of) {
    const { code } = await post('revocations', of);
    // A password is being set with it at this very moment.
    if (code === 'redemption_running') return (of.state = 'token_held');
    if (code) return code;
    const after = await post('reset/check', of);
    if (after.body) return 'failed';
    if (after.code === 'token_used') return 'token_used';
    return after.code === 'token_revoked' && of.state === 'live' ? 'disowned' : 'dead';
  }

  const steps = {
    proceed: () => location.assign(link.live.continueUrl),
    doubt: () => show('doubt', true),
    back: () => show(link.state, true),
    disown: () => work(link, disown, true),
    again: () => work(link, link.latest, true),
    look: () => work(link, check, true),
  };

  // A press by a script is nobody's.
  view.addEventListener('click', (event) => {
    const button = event.target.closest('button[data-does]');
    if (button && event.isTrusted && !link.isBusy) steps[button.dataset.does]();
  });

  function start() {
    link = { token: tokenInAddress() };
    clearAddress();
    if (!link.token) {
      show('incomplete', false);
      return;
    }
    show('checking', false);
    work(link, check, false);
  }

  // Another link that is opened in the same window loads nothing anew.
  addEventListener('hashchange', () => {
    if (tokenInAddress()) start();
  });

  start();
})();
