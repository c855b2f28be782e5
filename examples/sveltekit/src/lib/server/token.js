// Tokens for the chat server. Parlor knows the user by `sub`, shows `name`, and ends the connection soon after `exp`, unless the
// client brings a new token. Short ones are what makes signing out count.
import { SignJWT } from 'jose';
import { env } from '$env/dynamic/private';

const LIFETIME = '5m';
const MIN_SECRET_BYTES = 32;

/** A token for a user who is logged in. @param {{ id: string, name: string }} user */
export async function mintToken(user) {
  const secret = new TextEncoder().encode(env.PARLOR_JWT_SECRET ?? '');
  if (secret.length < MIN_SECRET_BYTES) {
    throw new Error(`set PARLOR_JWT_SECRET to the secret of Parlor's --jwt-secret-file, at least ${MIN_SECRET_BYTES} bytes`);
  }
  const token = new SignJWT({ name: user.name }).setProtectedHeader({ alg: 'HS256' }).setSubject(user.id).setExpirationTime(LIFETIME);
  // Set these where Parlor runs with --jwt-issuer and --jwt-audience, which it should in production.
  if (env.PARLOR_JWT_ISSUER) token.setIssuer(env.PARLOR_JWT_ISSUER);
  if (env.PARLOR_JWT_AUDIENCE) token.setAudience(env.PARLOR_JWT_AUDIENCE);
  return token.sign(secret);
}
