//! Gauss's hypergeometric function, as far as the models need it.

/// More terms than are ever needed: the ratio of two of them tends to `z`.
const TERMS_MAX: u32 = 200_000;

/// ₂F₁(a, b; c; z) for 0 ≤ z < 1, by its series.
///
/// Each term is the one before it times (a+n)(b+n)z/((c+n)(n+1)), which tends to `z`: what is left
/// after a term is then about the term times z/(1−z), by which the sum is ended.
pub fn gauss(a: f64, b: f64, c: f64, z: f64) -> f64 {
    let (mut term, mut sum) = (1.0, 1.0);
    for n in 0..TERMS_MAX {
        let n = f64::from(n);
        let ratio = (a + n) * (b + n) / ((c + n) * (n + 1.0)) * z;
        term *= ratio;
        sum += term;
        if ratio.abs() < 1.0 && (term / (1.0 - z)).abs() <= sum.abs() * 1e-15 {
            break;
        }
    }
    sum
}
