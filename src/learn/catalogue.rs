//! All lessons, in the order in which they build on each other.

use super::lesson::Lesson;
use super::lessons::{
    cpuid, halt, long_mode, mmio, page_fault, port_output, protected_mode, timer, triple_fault,
    two_processors, user_mode, virtqueue,
};

/// The lessons.
pub static LESSONS: [Lesson; 12] = [
    halt::LESSON,
    port_output::LESSON,
    mmio::LESSON,
    protected_mode::LESSON,
    long_mode::LESSON,
    page_fault::LESSON,
    timer::LESSON,
    two_processors::LESSON,
    user_mode::LESSON,
    virtqueue::LESSON,
    triple_fault::LESSON,
    cpuid::LESSON,
];

/// The lesson of that name or number, from 1.
pub fn find(name: &str) -> Option<(usize, &'static Lesson)> {
    let number = name.parse::<usize>().ok();
    (1..).zip(&LESSONS).find(|(at, lesson)| lesson.name == name || Some(*at) == number)
}
