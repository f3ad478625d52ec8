// A certified OpenID provider on loopback. Reads its clients' public keys as JSON from argv, prints its issuer.
import * as jose from 'jose';
import { errors, Provider } from 'oidc-provider';
import http from 'node:http';

const SCOPE = 'one-time-password-sms:send-validate';
const PURPOSE = 'dpv:FraudPreventionAndDetection';
const CIBA = 'urn:openid:params:grant-type:ciba';
const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
const keys = JSON.parse(process.argv[2]);

const server = http.createServer();
await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
const issuer = `http://127.0.0.1:${server.address().port}`;

const base = {
  redirect_uris: [],
  response_types: [],
  grant_types: ['client_credentials'],
  scope: `openid offline_access ${SCOPE} ${PURPOSE}`,
};
const secret = { ...base, client_secret: 'p%ss w+rd/=&-0123456789-0123456789' };
const signed = (alg, more) => ({
  ...base,
  client_id: alg,
  token_endpoint_auth_method: 'private_key_jwt',
  token_endpoint_auth_signing_alg: alg,
  jwks: { keys: [keys[alg]] },
  ...more,
});
const ciba = { grant_types: [CIBA, 'refresh_token'], backchannel_token_delivery_mode: 'poll' };

const provider = new Provider(issuer, {
  clients: [
    { ...secret, client_id: 'basic client:1', token_endpoint_auth_method: 'client_secret_basic' },
    { ...secret, client_id: 'post', token_endpoint_auth_method: 'client_secret_post' },
    { ...secret, client_id: 'jwt-tokens', token_endpoint_auth_method: 'client_secret_post' },
    { ...secret, client_id: 'short', token_endpoint_auth_method: 'client_secret_post' },
    { ...secret, client_id: 'narrow', token_endpoint_auth_method: 'client_secret_post', scope: PURPOSE },
    { ...secret, client_id: 'dpop', token_endpoint_auth_method: 'client_secret_post', dpop_bound_access_tokens: true },
    ...Object.keys(keys).map((alg) => signed(alg)),
    signed('ES256', { ...ciba, client_id: 'ciba' }),
    {
      ...base,
      client_id: 'bearer',
      grant_types: [JWT_BEARER],
      token_endpoint_auth_method: 'none',
      jwks: { keys: keys.ES256 ? [keys.ES256] : [] },
    },
  ],
  scopes: ['openid', 'offline_access', SCOPE, PURPOSE],
  enabledJWA: { clientAuthSigningAlgValues: Object.keys(keys) },
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  issueRefreshToken: (ctx, client, code) => code.scopes.has('offline_access'),
  rotateRefreshToken: true,
  ttl: {
    AccessToken: 3600,
    ClientCredentials: (ctx, token, client) => (client.clientId === 'short' ? 3 : 3600),
  },
  features: {
    devInteractions: { enabled: false },
    dPoP: { enabled: true },
    introspection: { enabled: true },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: (ctx, client) => (client.clientId === 'jwt-tokens' ? 'https://api.example' : undefined),
      getResourceServerInfo: () => ({ scope: SCOPE, accessTokenFormat: 'jwt', accessTokenTTL: 3600 }),
    },
    ciba: {
      enabled: true,
      deliveryModes: ['poll'],
      processLoginHint: (ctx, hint) => (hint === 'tel:+34600000009' ? undefined : hint),
      validateBindingMessage: () => {},
      validateRequestContext: () => {},
      verifyUserCode: () => {},
      // The user takes a moment; one of them says no.
      triggerAuthenticationDevice: (ctx, request, account, client) => {
        setTimeout(async () => {
          if (account.accountId === 'tel:+34600000008') {
            await provider.backchannelResult(request, new errors.AccessDenied('the user said no'));
            return;
          }
          const grant = new provider.Grant({ accountId: account.accountId, clientId: client.clientId });
          grant.addOIDCScope(request.scope);
          await grant.save();
          await provider.backchannelResult(request, grant);
        }, 1500);
      },
    },
  },
});

// The provider has no JWT bearer grant of its own: this one leaves all checking of the assertion to jose.
provider.registerGrantType(JWT_BEARER, async (ctx) => {
  const { assertion } = ctx.oidc.params;
  const { iss } = jose.decodeJwt(assertion);
  const client = await provider.Client.find(iss);
  const { payload } = await jose.jwtVerify(assertion, await jose.importJWK(client.jwks.keys[0], 'ES256'), {
    issuer: client.clientId,
    audience: `${issuer}/bearer`,
    maxTokenAge: '300s',
    requiredClaims: ['iss', 'sub', 'aud', 'exp', 'iat', 'jti', 'scope'],
  }).catch((error) => { throw new errors.InvalidGrant(error.message); });
  if (ctx.oidc.body.scope !== undefined || payload.exp - payload.iat > 300) throw new errors.InvalidRequest('no scope here');
  const token = new provider.AccessToken({
    accountId: payload.sub, client, scope: payload.scope, gty: 'jwt_bearer', grantId: payload.jti,
  });
  await new provider.Grant({ jti: payload.jti, accountId: payload.sub, clientId: iss }).save();
  ctx.body = { access_token: await token.save(), expires_in: token.expiration, token_type: 'Bearer', scope: token.scope };
}, ['assertion'], []);

// In that grant the assertion is the login as well; the provider wants a client's name beside it.
const answer = provider.callback();
server.on('request', async (request, response) => {
  if (request.url === '/bearer') {
    const chunks = await request.toArray();
    const form = Object.fromEntries(new URLSearchParams(Buffer.concat(chunks).toString()));
    request.url = '/token';
    request.body = { ...form, client_id: jose.decodeJwt(form.assertion).iss };
  }
  answer(request, response);
});
console.log(issuer);
