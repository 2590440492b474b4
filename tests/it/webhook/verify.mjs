// Checks messages with standardwebhooks and Node's own crypto: verify.mjs
//
// One JSON object of secret, headers and body per line comes in, one JSON verdict per line goes out. The
// secret is a shared one (whsec_) or the public half of a pair (whpk_).

import { createPublicKey, verify } from 'node:crypto';
import { createInterface } from 'node:readline';
import { Webhook, WebhookVerificationError } from 'standardwebhooks';

function verifyWithPublicHalf(key, headers, body) {
  const x = Buffer.from(key.slice('whpk_'.length), 'base64').toString('base64url');
  const publicKey = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
  const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`;
  const isGood = headers['webhook-signature'].split(' ').some((signature) => {
    const [version, bytes] = signature.split(',');
    return version === 'v1a' && verify(null, Buffer.from(signed), publicKey, Buffer.from(bytes, 'base64'));
  });
  if (!isGood) throw new WebhookVerificationError('no v1a fits');
  return JSON.parse(body);
}

function verdict({ secret, headers, body }) {
  try {
    const isPublic = secret.startsWith('whpk_');
    const payload = isPublic
      ? verifyWithPublicHalf(secret, headers, body)
      : new Webhook(secret).verify(body, headers);
    return payload.type;
  } catch (error) {
    if (error instanceof WebhookVerificationError) return 'refused';
    throw error;
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(verdict(JSON.parse(line))));
}
