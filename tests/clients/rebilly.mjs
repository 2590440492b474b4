// Rebilly's SDK against a server of ours, told of nothing but its address.

import assert from 'node:assert/strict';
import { RebillyAPI, RebillyErrors } from 'rebilly-js-sdk';

const [, url, key] = process.argv.filter((it) => it !== '--');
const connect = (more = {}) => RebillyAPI({ apiKey: key, urls: { live: url, sandbox: url }, timeout: 60000, ...more });

const refused = async (promise, name, status) => {
    const error = await promise.then(() => assert.fail(`${name} was wanted`), (error) => error);
    assert.ok(error instanceof RebillyErrors.RebillyError, String(error));
    assert.deepEqual([error.name, error.status], [name, status], error.message);
    assert.ok(error.response.headers['content-type'].startsWith('application/json'));
    const { status: told, type, title, detail, instance } = error.response.data;
    assert.equal(told, status);
    for (const text of [type, title, detail, instance]) assert.equal(typeof text, 'string');
    assert.equal(error.message, detail);
    return error;
};

for (const organizationId of [null, 'acme']) {
    const tokens = connect({ organizationId }).customerAuthentication;
    const prefix = organizationId ? `${url}/organizations/${organizationId}` : url;
    const user = `ann-${organizationId}`;

    // Created, read twice, deleted, gone.
    const created = await tokens.createResetPasswordToken({ data: { username: user } });
    const { token } = created.fields;
    assert.match(token, /^[\w-]+\.[\w-]+\.[\w-]+$/);
    const members = ['_links', 'expiredTime', 'token', 'username'];
    assert.deepEqual(Object.keys(created.fields).sort(), members);
    assert.equal(created.fields.username, user);
    assert.ok(Date.parse(created.fields.expiredTime) > Date.now());
    const self = `${prefix}/password-tokens/${token}`;
    assert.deepEqual(created.fields._links, [{ href: self, rel: 'self' }]);
    assert.equal(created.response.headers.location, self);
    assert.equal(created.response.status, 201);
    assert.ok(Number(created.response.headers['x-ratelimit-limit']) > 0);
    assert.ok(Number(created.response.headers['x-ratelimit-remaining']) >= 0);
    for (let n = 0; n < 2; n += 1) {
        const read = await tokens.getResetPasswordToken({ id: token });
        assert.deepEqual(read.fields, created.fields);
    }
    const deleted = await tokens.deleteResetPasswordToken({ id: token });
    assert.equal(deleted.response.status, 204);
    await refused(tokens.getResetPasswordToken({ id: token }), 'RebillyNotFoundError', 404);
    await refused(tokens.deleteResetPasswordToken({ id: token }), 'RebillyNotFoundError', 404);

    // Expired by itself.
    const soon = new Date(Date.now() + 2500).toISOString();
    const short = await tokens.createResetPasswordToken({ data: { username: user, expiredTime: soon, credentialId: 'cus_crd_1' } });
    assert.equal(Date.parse(short.fields.expiredTime), Math.floor(Date.parse(soon) / 1000) * 1000);
    assert.equal(short.fields.credentialId, 'cus_crd_1');
    for (const deadline = Date.now() + 60000; ;) {
        const found = await tokens.getResetPasswordToken({ id: short.fields.token }).catch((error) => error);
        if (found instanceof Error) {
            await refused(Promise.reject(found), 'RebillyNotFoundError', 404);
            break;
        }
        assert.ok(Date.now() < deadline, 'a token outlived its time');
        await new Promise((resolve) => setTimeout(resolve, 100));
    }

    // What is refused.
    const invalid = await refused(tokens.createResetPasswordToken({ data: {} }), 'RebillyValidationError', 422);
    assert.deepEqual(invalid.invalidFields.map(({ field }) => field), ['username']);
    await refused(tokens.createResetPasswordToken({ data: { username: user, expiredTime: 'tomorrow' } }), 'RebillyValidationError', 422);
    await refused(tokens.getResetPasswordToken({ id: 'junk' }), 'RebillyNotFoundError', 404);
    await refused(tokens.getAllResetPasswordTokens({ limit: 5 }), 'RebillyMethodNotAllowedError', 405);
    const stranger = connect({ organizationId, apiKey: 'rsk_wrong' }).customerAuthentication;
    await refused(stranger.getResetPasswordToken({ id: 'junk' }), 'RebillyForbiddenError', 401);

    // No more than so many for one user; as many as there were tokens above, and one.
    await tokens.createResetPasswordToken({ data: { username: user } });
    const limited = await refused(tokens.createResetPasswordToken({ data: { username: user } }), 'RebillyRequestError', 429);
    const { headers } = limited.response;
    assert.ok(Number(headers['retry-after']) > 0);
    assert.ok(Number(headers['x-ratelimit-retry-after']) > Date.now() / 1000);
    assert.equal(headers['x-ratelimit-remaining'], '0');

    // A session token goes before the key, which is sent all the same.
    const session = connect({ organizationId });
    const other = await session.customerAuthentication.createResetPasswordToken({ data: { username: `bob-${organizationId}` } });
    session.setSessionToken('junk');
    await session.customerAuthentication.getResetPasswordToken({ id: other.fields.token });
    const bearer = connect({ organizationId, apiKey: null });
    bearer.setSessionToken(key);
    await bearer.customerAuthentication.getResetPasswordToken({ id: other.fields.token });
}
console.log('all is as an SDK of Rebilly expects it');
