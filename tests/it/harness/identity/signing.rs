//! Keys of the test provider, and tokens signed by them: rightly, and in each wrong way.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use p256::ecdsa::signature::Signer as _;
use ring::rand::SystemRandom;
use ring::{hmac, rsa, signature};
use serde_json::{Value, json};

use crate::harness::unique;

/// A key pair as providers have them.
pub enum SigningKey {
    Es256 { kid: String, key: p256::ecdsa::SigningKey },
    Rs256 { kid: String, key: Box<rsa::KeyPair> },
}

/// How a token is signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Signature {
    #[default]
    Right,
    /// `alg: none`, without a signature.
    None,
    /// `alg: HS256`, keyed with what is public about the provider's key.
    PublicKeyAsSecret,
    /// `alg: HS256`, keyed with the client secret.
    ClientSecret,
    /// By another key that claims the published one's name.
    Stranger,
    /// One bit of the right one is turned.
    Damaged,
}

impl SigningKey {
    pub fn es256() -> Self {
        Self::Es256 { kid: unique("es"), key: fresh_key() }
    }

    /// Always the same pair, for making one takes long, under a name of its own.
    pub fn rs256() -> Self {
        let der = STANDARD.decode(RSA_KEY.replace(['\n', ' '], "")).unwrap();
        let key = rsa::KeyPair::from_der(&der).unwrap();
        Self::Rs256 { kid: unique("rs"), key: Box::new(key) }
    }

    pub fn kid(&self) -> &str {
        match self {
            Self::Es256 { kid, .. } | Self::Rs256 { kid, .. } => kid,
        }
    }

    /// The public half as it stands in the key set.
    pub fn jwk(&self) -> Value {
        match self {
            Self::Es256 { kid, key } => {
                let point = key.verifying_key().to_sec1_point(false);
                let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
                json!({
                    "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": kid,
                    "x": part(point.x().unwrap()), "y": part(point.y().unwrap()),
                })
            }
            Self::Rs256 { kid, key } => {
                let public = rsa::PublicKeyComponents::<Vec<u8>>::from(key.public());
                let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
                json!({
                    "kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid,
                    "n": part(&public.n), "e": part(&public.e),
                })
            }
        }
    }

    /// A token of these claims; `kid` stands in its header instead of the key's own where given.
    pub fn token(&self, claims: &Value, how: Signature, kid: Option<&str>, secret: &str) -> String {
        let algorithm = match (how, self) {
            (Signature::None, _) => "none",
            (Signature::PublicKeyAsSecret | Signature::ClientSecret, _) => "HS256",
            (_, Self::Es256 { .. }) => "ES256",
            (_, Self::Rs256 { .. }) => "RS256",
        };
        let header = json!({ "alg": algorithm, "typ": "JWT", "kid": kid.unwrap_or(self.kid()) });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&header), part(claims));
        let mac = |key: &[u8]| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, key);
            hmac::sign(&key, message.as_bytes()).as_ref().to_vec()
        };
        let signature = match how {
            Signature::Right => self.sign(message.as_bytes()),
            Signature::None => Vec::new(),
            Signature::PublicKeyAsSecret => mac(&self.public_bytes()),
            Signature::ClientSecret => mac(secret.as_bytes()),
            Signature::Stranger => {
                Self::Es256 { kid: String::new(), key: fresh_key() }.sign(message.as_bytes())
            }
            Signature::Damaged => {
                let mut signature = self.sign(message.as_bytes());
                signature[10] ^= 1;
                signature
            }
        };
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Es256 { key, .. } => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                signature.to_bytes().to_vec()
            }
            Self::Rs256 { key, .. } => {
                let mut signature = vec![0; key.public().modulus_len()];
                let random = SystemRandom::new();
                key.sign(&signature::RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
        }
    }

    fn public_bytes(&self) -> Vec<u8> {
        match self {
            Self::Es256 { key, .. } => key.verifying_key().to_sec1_point(false).as_bytes().to_vec(),
            Self::Rs256 { key, .. } => key.public().as_ref().to_vec(),
        }
    }
}

pub fn fresh_key() -> p256::ecdsa::SigningKey {
    use customer_service::clock::{Clock as _, SystemClock};
    let mut bytes = [0; 32];
    SystemClock.random(&mut bytes);
    // below the order of the curve with all but certainty
    bytes[0] &= 0x7f;
    p256::ecdsa::SigningKey::from_slice(&bytes).unwrap()
}

/// PKCS#1, 2048 bits; signs nothing but tests.
const RSA_KEY: &str = "\
    MIIEowIBAAKCAQEAqpwPXUBwUoRjj/8E+ZRDcA0j/RN1aurXMAYT5cLGgBwupXJ1BUZ5zXTs3cYtPgfgeLpd9Bqf\
    iFw8f0O2/DwK/cF0lDe8TDedK9P0q/O0bMmmytn2B0JrHYjP4N8O6ZRdtCc1r/f2qUza0/Uijqns2rCjFxIE8Qwx\
    kAFtQ9FqIft48B0/QNPMgp70hiq23/CMU4Rb4xXygJ3MhLFIKtx4zkMg7vEVgG5U31zlnw5Ap+dIIttMUiZxb5HS\
    Gvoh4lau836mptZVvBVA8fkaZzBDCC3wXUpZQRsB9ZprzNbxcPfA4Q936gbSiKc2FomwF3WtZYt9GD2s+8chs1Fm\
    fHhR4wIDAQABAoIBAEwGMbSAl+y1ULZkUb+zSR+/w0ctKhfkINKmCqzKD/EbXc/cwneA0ZrznO8wNY3cLbMufNpf\
    GLLHQzAEqSAZ014DHCNF+NLPv2o9z1vmQ4JskzX2TTMr7hZhlhxi2T7Nnbm+9SX+LTyA4kwsAmOnJcPHjU0k+u28\
    3MMKV7muMgiEzkFGsLsL3gxg0m+q8QpNY3JDZVCloyAe55n9No7cwscrJkCnpdS5S19MUYLl5LuSC+Gbknev20nR\
    1BLdiXuqT5qIP/JepUYXYqz9s08AWEgvnhwl1DDU46f9Ige6gzFJ4p88NjFTShXWUkZcItGxEviNDheKeEpF2/Xj\
    bOp7fskCgYEA7RFrTEsF04WvGSRV1XROi8wUypwGdzl0Y9snK/HBbime4iRG3B+puyp3voMb/zcYH8IBOGqKtiCN\
    4eCiCX+n6+LABhaZGR7c4QRmc7fE7JNjpHQsOIERALEDmZsXtImqclJPWjzCjpiemnDHjLUYQSnvb1Tl/dyINiKs\
    aoNBidkCgYEAuDv5seaTucGWXsFHEwjGKPGV57yqoUAWVzbeJDMUnoOlj5X8cPXdV4EiWbNeLq+bXkH0zOtPJIj4\
    o8235qdd3KaLgg5zyooGh0sL7DdIhnEBEHls4R2muZNfJubv3k5izDR/Fd/r6/OSUVBhyMwSUWqVFV8Exqpkiaix\
    9/JACBsCgYBjVrdFgvJwDkavHGCzT0dSoTPdKsAy2WqCJWUmrulFBj/DtzvSJZp0CXmf5USoDygWtq7YOxzg8IdD\
    rWN443s0BxI7+uAwfJRF3hgoSUtFbwWD9gJJsxuy1HoTtb+bMUyxFviVcXx9UEq1oKidt4zwUWg5mLO/StfxB1qE\
    T3f5EQKBgQCFKUxkCn3R8JuIJ3kAyAG6jEtGcTZ/UHwVU6IiVg1cOVkMPGN3Hi561eqHHT9AzUqmSVPwXVAZ3yqf\
    8swuWeBc4L/LJDkLNtJbLaITfS3dhoY3axyIZc8hKOTIkHjlnJCKepM0s2GpbKbgQRI8eUvwLvJMvR4NnhEG8riX\
    tzAS6wKBgGxWzzJrkW1k15dO4UYi2FnBTWIAx8mFRCcUMwNfrKhX5A7rSmq0EpKBvMeiPVlTAr2nbiK+5bghuumb\
    T7spAwhLWM1KhKQDotjMs/I2wlt2+7zVBwI+JD1jg4aWWM4OdRuyYKmAckMhdwmtqXZgEFu/acEBQ3nJxC01P/YU\
    lx2x";
