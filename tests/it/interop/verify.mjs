// Checks tokens with jose: verify.mjs JWKS_URL ISSUER AUDIENCE
//
// One JSON string per line comes in, one JSON verdict per line goes out.

import { createInterface } from 'node:readline';
import { createRemoteJWKSet, jwtVerify } from 'jose';

const [jwksUrl, issuer, audience] = process.argv.slice(-3);
const keys = createRemoteJWKSet(new URL(jwksUrl));

async function verdict(token) {
  try {
    const options = { issuer, audience, typ: 'reset+jwt' };
    const { payload } = await jwtVerify(token, keys, options);
    return { accepted: payload.sub };
  } catch (error) {
    return { refused: error.code ?? String(error) };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await verdict(JSON.parse(line))));
}
