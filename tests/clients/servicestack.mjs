// Asks as JsonServiceClient does: servicestack.mjs send | reset TOKEN
//
// The classes are as the vendor's generator makes them. What came of it goes out as one line of JSON.

import assert from 'node:assert/strict';
import { JsonServiceClient } from '@servicestack/client';

class GetResetPasswordToken {
  constructor(init) { Object.assign(this, init); }
  createResponse() { return new GetResetPasswordTokenResponse(); }
  getTypeName() { return 'GetResetPasswordToken'; }
  getMethod() { return 'POST'; }
}
class GetResetPasswordTokenResponse {
  constructor(init) { Object.assign(this, init); }
}
class PasswordReset {
  constructor(init) { Object.assign(this, init); }
  createResponse() { return {}; }
  getTypeName() { return 'PasswordReset'; }
  getMethod() { return 'POST'; }
}

const zeros = '00000000-0000-0000-0000-000000000000';
const route = '/api/account/ann@example.com/passwordresettoken';
const { RESETD_URL: url, RESETD_API_KEY: key } = process.env;
const clients = ['api', 'api/json/reply'].map((path) => {
  const client = new JsonServiceClient(url).useBasePath(path);
  client.bearerToken = key;
  return client;
});
const [client] = clients;

let sent = 0;
let elsewhere = 0;
async function succeeds(answer) {
  assert.deepEqual(await answer, {});
  sent += 1;
}

async function refusal(answer) {
  try {
    await answer;
  } catch (error) {
    const status = error.responseStatus;
    assert.ok(status?.errorCode && status.message, JSON.stringify(error));
    assert.equal(status.stackTrace, undefined);
    return status;
  }
  assert.fail('it succeeded');
}

async function send() {
  const whole = () => new GetResetPasswordToken({
    UserName: 'ann@example.com', ApplianceId: zeros, SuiteId: zeros, SubdomainName: 'x',
  });
  for (const one of clients) {
    for (const method of ['post', 'put', 'patch', 'get', 'delete']) await succeeds(one[method](whole()));
    const result = await one.api(whole());
    assert.ok(result.succeeded && !result.failed, JSON.stringify(result));
    sent += 1;
  }
  // The path alone is enough.
  await succeeds(client.get(route));
  await succeeds(client.delete(route));
  for (const method of ['postToUrl', 'putToUrl', 'patchToUrl']) {
    await succeeds(client[method](route, new GetResetPasswordToken({ ApplianceLoginUrl: 'https://app.example.com/other' })));
    elsewhere += 1;
  }
  await client.sendOneWay(whole());
  sent += 1;

  const nobody = await client.api(new GetResetPasswordToken({}));
  assert.ok(nobody.failed);
  assert.equal(nobody.errorCode, 'NotEmpty');
  assert.equal(nobody.errors[0].fieldName, 'UserName');
  const codes = [];
  for (const init of [{ ApplianceId: '5' }, { ApplianceLoginUrl: 'https://evil.example/' }]) {
    codes.push((await refusal(client.postToUrl(route, new GetResetPasswordToken(init)))).errorCode);
  }
  const stranger = new JsonServiceClient(url);
  codes.push((await refusal(stranger.post(whole()))).errorCode);
  assert.deepEqual(codes, ['SerializationException', 'Predicate', 'Unauthorized']);

  for (const end of ['', '.json', '.xml', '.jsv', '.csv', '.html', '.jsonl', '?callback=cb']) {
    const answer = await fetch(`${url}${route}${end}`, { headers: { authorization: `Bearer ${key}` } });
    assert.equal(answer.status, 200, end);
    assert.doesNotMatch(JSON.stringify([...answer.headers]) + await answer.text(), /eyJ/);
    sent += 1;
  }
  return { sent, elsewhere };
}

async function reset(token) {
  const codes = [];
  for (const Token of [token, token, 'a.b.c']) {
    const result = await client.api(new PasswordReset({
      NewPassword: 'hunter2', ConfirmPassword: 'hunter2', Token, ApplianceId: zeros,
    }));
    codes.push(result.errorCode ?? '');
  }
  return { codes };
}

const [what, token] = process.argv.slice(1);
console.log(JSON.stringify(what === 'send' ? await send() : await reset(token)));
