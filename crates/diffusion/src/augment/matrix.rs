//! Small matrices of homogeneous coordinates.

/// A square matrix, row by row.
pub(super) type Matrix<const N: usize> = [[f64; N]; N];

pub(super) fn identity<const N: usize>() -> Matrix<N> {
    std::array::from_fn(|row| std::array::from_fn(|col| if row == col { 1.0 } else { 0.0 }))
}

pub(super) fn product<const N: usize>(left: &Matrix<N>, right: &Matrix<N>) -> Matrix<N> {
    std::array::from_fn(|row| {
        std::array::from_fn(|col| (0..N).map(|k| left[row][k] * right[k][col]).sum())
    })
}

/// Scaling of the plane.
pub(super) fn scale(x: f64, y: f64) -> Matrix<3> {
    [[x, 0.0, 0.0], [0.0, y, 0.0], [0.0, 0.0, 1.0]]
}

/// Rotation of the plane.
pub(super) fn rotate(angle: f64) -> Matrix<3> {
    let (sin, cos) = angle.sin_cos();
    [[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]]
}

/// Translation of the plane.
pub(super) fn translate(x: f64, y: f64) -> Matrix<3> {
    [[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]]
}
