// The page for people: what a link is worth, and what its holder wants to do about it.
//
// It asks about the token and does nothing with it until a person presses a button, since scanners of mail
// run scripts too. All texts stand in the document, as templates that are named by the code of a problem.
'use strict';

(() => {
  const view = document.getElementById('view');
  const status = document.getElementById('status');
  const product = document.querySelector('header')?.textContent.trim();

  let token;
  let live;
  /** What is tried again. */
  let latest;
  let isBusy = false;

  /** The token in the address: at the end of the fragment, or as the value of a parameter. */
  function tokenInAddress() {
    const values = new URLSearchParams(location.search).values();
    const ends = [location.hash, ...values].map((text) => text.split(/[^\w.-]/).pop());
    return ends.find((end) => /^[\w-]+\.[\w-]+\.[\w-]+$/.test(end));
  }

  /** Neither the address bar, nor the history, nor a copied address has it from here on. */
  function clearAddress() {
    history.replaceState(null, '', location.pathname);
  }

  /** Posts the token: the answer, or the code of what is wrong. */
  async function post(path) {
    try {
      const answer = await fetch(path, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ token }),
        cache: 'no-store',
        credentials: 'omit',
        redirect: 'error',
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
      const value = live[place.dataset.is];
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

  /** One at a time: a second press while the first is under way is the same press. */
  async function alone(work) {
    if (isBusy) return;
    isBusy = true;
    latest = work;
    view.setAttribute('aria-busy', 'true');
    await work();
    view.removeAttribute('aria-busy');
    isBusy = false;
  }

  async function check(isAsked) {
    const asked = token;
    const { body, code } = await post('reset/check');
    // Another link may have been opened here meanwhile.
    if (asked !== token) {
      await check(isAsked);
      return;
    }
    live = body;
    show(live ? 'live' : code, isAsked);
  }

  async function disown() {
    const { code } = await post('revocations');
    show(code ?? 'disowned', true);
  }

  const steps = {
    proceed: () => location.assign(live.continueUrl),
    doubt: () => show('doubt', true),
    back: () => show('live', true),
    disown: () => alone(disown),
    again: () => alone(latest === disown ? disown : () => check(true)),
  };

  view.addEventListener('click', (event) => {
    const button = event.target.closest('button[data-does]');
    if (button) steps[button.dataset.does]();
  });

  function start() {
    token = tokenInAddress();
    clearAddress();
    if (!token) {
      show('incomplete', false);
      return;
    }
    const waiting = document.getElementById('waiting');
    if (waiting) waiting.hidden = false;
    alone(() => check(false));
  }

  // Another link that is opened in the same window loads nothing anew.
  addEventListener('hashchange', () => {
    if (tokenInAddress()) start();
  });

  start();
})();
