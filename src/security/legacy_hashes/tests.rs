//! Known answers. The hashes were made by other implementations than those used here: Python's
//! `bcrypt` 5.0, `hashlib` (OpenSSL), passlib 1.7.4, Django 5.2 and `cryptography`; Firebase's is
//! the published example of its scrypt variant.

use super::*;

const PASSWORD: &str = "Mật khẩu 🐧 dài";

const KNOWN: &[&str] = &[
    "$2a$04$GRt.9SYqZ7OpjnvwyahNce1ZwNC3.ODyAl0KqlHDXAX/kPsIUd9Xy",
    "$2b$04$ydYcFI/KdkV/Y0MqMKB9WOfeR4tK/sbmrr5CTXRsiH5sQVM2FLzWi",
    "$2y$04$ydYcFI/KdkV/Y0MqMKB9WOfeR4tK/sbmrr5CTXRsiH5sQVM2FLzWi",
    "$pbkdf2-sha1$i=1000,l=20$MDEyMzQ1Njc4OWFiY2RlZg$gU2fX5OhwKpTG2vieui8OYDZjHI",
    "$pbkdf2-sha256$i=1000,l=32$MDEyMzQ1Njc4OWFiY2RlZg$kidlIPGWgEIf9+gh841+iNU1F5AfKqZRJdd31LtgYDw",
    "$pbkdf2-sha256$i=1000$MDEyMzQ1Njc4OWFiY2RlZg$kidlIPGWgEIf9+gh841+iNU1F5AfKqZRJdd31LtgYDw",
    "$pbkdf2-sha512$i=1000,l=64$MDEyMzQ1Njc4OWFiY2RlZg$zMYjLkwb4wRZ3SBclCqc0gib1Y3v5EthhU0DPab2svxaPnC4iRvDvHXMQsnf2QSXxdLOsXA6Y81lpnV6xg4fYA",
    "$pbkdf2-sha256$1000$K8WYc865l9I6Ryjl/P9/bw$y10G/yP72YZSnQa75oTh9Rpk5zzEZTuwB4/cpF19nrw",
    "$pbkdf2-sha512$1000$zjlnbO29F0IoZUzpHSOEkA$pXZW0rqogI5Zc8ylNpHMIWrG1M9j0KtVMDhtgJYQBGWDaDrellPiHULMPHMKTBIjl19sXsucqE4DZDM/Q80aKw",
    "$pbkdf2$1000$vHcupXRO6b0XYgxhjFGKkQ$N.g0aUnau9b4KCQXVhjDtYUvX00",
    "pbkdf2_sha256$1000$saltSALT1234$0aEn3zJnVzBfBIbL/zXizK56r6j5KfePINL3ylDhE+A=",
    "pbkdf2_sha1$1000$saltSALT1234$khDokConwFGfWTzFoLy8eAjvVZ4=",
    "$scrypt$ln=4,r=8,p=2$TmFDbDEyMzQ$lAGZn/d5dJOS2ehWvO6JhhOhQcIZ51aWv9f5zWt2yIs",
    "$scrypt$ln=4,r=8,p=1$qLUWIoQwphRCiFGKsVZKCQ$p1G1OeH3a91B/IKuazSzOR8mipX8vBvPR53Vts9C5lU",
    "$firebase-scrypt$ln=4,r=8,sep=Bw==,key=jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==$42xEC+ixf3L2lw==$12QUQSUM5CINXrRAex+euH/kmVcOG0qFRWGzghiEaRlB0llNil9G8gtKMBz/uRSfYYjF2ryvwlE9InrOyEVkDg==",
];

fn matches(hash: &str, password: &str) -> Option<bool> {
    LegacyHash::parse(hash).map(|hash| hash.matches(password.as_bytes()))
}

#[test]
fn a1_hashes_of_other_implementations_verify() {
    for hash in KNOWN {
        assert_eq!(matches(hash, PASSWORD), Some(true), "{hash}");
        assert_eq!(matches(hash, "Mật khẩu 🐧 dai"), Some(false), "{hash}");
        assert_eq!(matches(hash, ""), Some(false), "{hash}");
    }
}

#[test]
fn a1_published_examples_verify() {
    // of OpenBSD's bcrypt, of RFC 6070 and RFC 7914, and of Firebase
    let cases = [
        ("$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe", "a"),
        ("pbkdf2_sha1$4096$salt$SwB5AbdlSJq+rUnZJvch0GWkKcE=", "password"),
        (
            "$scrypt$ln=10,r=8,p=16$TmFDbA$\
             /bq+HJ00cgB4VucZDQHp/nxq18vII3gw53N2Y0s3MWIurzDZLiKjiG/xCSedmDDaxyevuUqD7m2DYMvfoswGQA",
            "password",
        ),
        (
            "$firebase-scrypt$ln=14,r=8,sep=Bw==,key=jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMX\
             An210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==$42xEC+ixf3L2lw==$\
             lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ==",
            "user1password",
        ),
    ];
    for (hash, password) in cases {
        assert_eq!(matches(hash, password), Some(true), "{hash}");
    }
}

#[test]
fn a1_bcrypt_looks_at_72_bytes_and_at_no_nul() {
    let long = "0123456789".repeat(8);
    let hash = "$2b$04$9wK7GCDBeqYZ9Dg/kclfGus04TFB..jE8xJVXJjo.Qb96FS4YKr3q";
    assert_eq!(matches(hash, &long[..72]), Some(true));
    assert_eq!(matches(hash, &long), Some(true));
    assert_eq!(matches(hash, &format!("{}x", &long[..72])), Some(true));
    assert_eq!(matches(hash, &long[..71]), Some(false));
    assert_eq!(matches(hash, &format!("{}\0", &long[..72])), Some(false));
    assert_eq!(matches(KNOWN[1], &format!("{PASSWORD}\0")), Some(false));
    assert_eq!(matches(KNOWN[1], &format!("{PASSWORD}\0behind")), Some(false));
}

#[test]
fn a_damaged_hash_is_no_hash() {
    for hash in KNOWN {
        // Wherever it is cut or changed: no panic, and no other password's. (The right one may still
        // match what lost its end: the first bytes of PBKDF2 are those of a shorter output.)
        for at in 0..hash.len() {
            for damaged in [
                hash[..at].to_owned(),
                format!("{}~{}", &hash[..at], &hash[at + 1..]),
                format!("{}é{}", &hash[..at], &hash[at + 1..]),
            ] {
                assert_ne!(matches(&damaged, "wrong"), Some(true), "{damaged}");
            }
        }
    }
    for hash in [
        "",
        "$",
        "$$$$",
        "$2x$04$ydYcFI/KdkV/Y0MqMKB9WOfeR4tK/sbmrr5CTXRsiH5sQVM2FLzWi",
        "$pbkdf2-sha256$i=1000$MDEyMzQ1Njc4OWFiY2RlZg$",
        "$pbkdf2-sha256$i=1000$MDEyMzQ1Njc4OWFiY2RlZg$MDEy",
        "$pbkdf2-sha256$i=+1000$MDEyMzQ1Njc4OWFiY2RlZg$MDEyMzQ1Njc4OWFiY2RlZg",
        "$pbkdf2-sha256$i=1000,i=1$MDEyMzQ1Njc4OWFiY2RlZg$MDEyMzQ1Njc4OWFiY2RlZg",
        "$pbkdf2-sha256$i=1000,l=32$MDEyMzQ1Njc4OWFiY2RlZg$MDEyMzQ1Njc4OWFiY2RlZg",
        "$pbkdf2-sha256$$MDEyMzQ1Njc4OWFiY2RlZg$MDEyMzQ1Njc4OWFiY2RlZg",
        "$pbkdf2-md5$i=1000$MDEyMzQ1Njc4OWFiY2RlZg$MDEyMzQ1Njc4OWFiY2RlZg",
        "$scrypt$ln=4,r=8$TmFDbDEyMzQ$lAGZn/d5dJOS2ehWvO6JhhOhQcIZ51aWv9f5zWt2yIs",
        "$firebase-scrypt$ln=4,r=8,sep=Bw==,key=MDEyMzQ1Njc4OWFiY2RlZg==$42xEC$MDEyMzQ1Njc4OWFiY2Rl",
    ] {
        assert_eq!(matches(hash, PASSWORD), None, "{hash}");
    }
}

#[test]
fn a_planted_cost_is_not_computed() {
    let (salt, hash) = ("MDEyMzQ1Njc4OWFiY2RlZg", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY");
    let long = "MDEyMzQ1Njc4OWFi".repeat(8);
    let with = |cost: &str, hash: &str| LegacyHash::parse(&format!("{cost}${salt}${hash}"));
    for cost in [
        "$pbkdf2-sha256$i=0",
        "$pbkdf2-sha256$i=5000001",
        "$pbkdf2-sha256$4294967295",
        "$scrypt$ln=18,r=8,p=1",
        "$scrypt$ln=63,r=8,p=1",
        "$scrypt$ln=64,r=8,p=1",
        "$scrypt$ln=4294967295,r=8,p=1",
        "$scrypt$ln=17,r=8,p=5",
        "$scrypt$ln=10,r=8,p=4294967295",
        "$scrypt$ln=10,r=0,p=1",
        "$scrypt$ln=10,r=8,p=0",
        "$scrypt$ln=1,r=1048576,p=1",
    ] {
        assert!(with(cost, hash).is_none(), "{cost}");
    }
    // one more block of output is as much work again
    assert!(with("$pbkdf2-sha256$i=5000000", hash).is_some());
    assert!(with("$pbkdf2-sha256$i=5000000", &long).is_none());
    assert!(with("$scrypt$ln=17,r=8,p=4", hash).is_some());
    let bcrypt =
        |cost: &str| LegacyHash::parse(&KNOWN[1].replace("$04$", &format!("${cost}$"))).is_some();
    assert!(bcrypt("15"));
    for cost in ["00", "03", "16", "31", "32", "99", "-1", "+9"] {
        assert!(!bcrypt(cost), "{cost}");
    }
}
