mod image;
pub use self::image::Image;
