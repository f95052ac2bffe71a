//! Places on the earth as numbers: geohashes, the cells around a place, and distances.
//!
//! ```text
//!  longitude  -180 ├───────────┼───────────┤ 180       halved 26 times: 26 bits, in the odd places
//!  latitude   -85… ├───────────┼───────────┤ 85…       the same: in the even places
//!
//!  52 bits: … lon lat lon lat                          a prefix of 2·step bits is a cell, everything in it a range
//! ```
//!
//! With the bits of both coordinates interleaved, the places in one square cell are neighbours on a line, so an ordered set
//! of numbers is an index of places. A search covers the cell of its centre, about as large as the shape, and the eight
//! around it. (G. M. Morton 1966; the strings are G. Niemeyer's geohash. 52 bits fit in a double.)
//!
//! Latitudes end where the Mercator projection of the web is a square, at ±85.05112878. The earth is a sphere of radius
//! 6,372,797.560856 m; distances follow the haversine formula.
//!
//! Costs: comparing a place with a circle takes two sines, two cosines, a root and an arc sine, about 50 ns.

use std::f64::consts::PI;

/// The largest longitude, east or west.
pub const MAX_LONGITUDE: f64 = 180.0;
/// The largest latitude, north or south.
pub const MAX_LATITUDE: f64 = 85.051_128_78;

/// How often each coordinate is halved.
const STEPS: u32 = 26;
const EARTH_RADIUS_M: f64 = 6_372_797.560_856;
/// Half the side of the square onto which the projection maps the earth.
const MERCATOR_MAX_M: f64 = 20_037_726.37;

/// A place, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// East is positive.
    pub longitude: f64,
    /// North is positive.
    pub latitude: f64,
}

/// `bits` spread to the even bit positions.
fn spread(bits: u32) -> u64 {
    let mut x = u64::from(bits);
    x = (x | x << 16) & 0x0000_ffff_0000_ffff;
    x = (x | x << 8) & 0x00ff_00ff_00ff_00ff;
    x = (x | x << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    x = (x | x << 2) & 0x3333_3333_3333_3333;
    (x | x << 1) & 0x5555_5555_5555_5555
}

/// The bits at the even positions, gathered.
fn gather(bits: u64) -> u32 {
    let mut x = bits & 0x5555_5555_5555_5555;
    x = (x | x >> 1) & 0x3333_3333_3333_3333;
    x = (x | x >> 2) & 0x0f0f_0f0f_0f0f_0f0f;
    x = (x | x >> 4) & 0x00ff_00ff_00ff_00ff;
    x = (x | x >> 8) & 0x0000_ffff_0000_ffff;
    (x | x >> 16) as u32
}

/// Which of `1 << step` equal parts of `-most..most` the degrees lie in; one more for `most` itself.
fn part(degrees: f64, most: f64, step: u32) -> u32 {
    let share = (degrees + most) / (most + most);
    (share * (1_u64 << step) as f64) as u32
}

/// A square of the earth: parts of longitude and latitude after some halvings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell {
    longitude: u32,
    latitude: u32,
    step: u32,
}

/// The area of a cell, in degrees.
struct Area {
    min: Place,
    max: Place,
}

impl Cell {
    fn of(place: Place, step: u32) -> Cell {
        Cell {
            longitude: part(place.longitude, MAX_LONGITUDE, step),
            latitude: part(place.latitude, MAX_LATITUDE, step),
            step,
        }
    }

    fn from_bits(bits: u64) -> Cell {
        Cell { longitude: gather(bits >> 1), latitude: gather(bits), step: STEPS }
    }

    fn bits(self) -> u64 {
        spread(self.longitude) << 1 | spread(self.latitude)
    }

    fn area(self) -> Area {
        let parts = (1_u64 << self.step) as f64;
        let degrees = |part: f64, most: f64| -most + part / parts * (most + most);
        let corner = |more: f64| Place {
            longitude: degrees(f64::from(self.longitude) + more, MAX_LONGITUDE),
            latitude: degrees(f64::from(self.latitude) + more, MAX_LATITUDE),
        };
        Area { min: corner(0.0), max: corner(1.0) }
    }

    /// The cell `east` cells to the east and `north` cells to the north, wrapping around the earth.
    fn neighbour(self, east: i32, north: i32) -> Cell {
        let mask = ((1_u64 << self.step) - 1) as u32;
        let moved = |part: u32, by: i32| if by == 0 { part } else { part.wrapping_add_signed(by) & mask };
        Cell { longitude: moved(self.longitude, east), latitude: moved(self.latitude, north), ..self }
    }

    /// The range of the numbers of all places in the cell, excluding its end.
    fn numbers(self) -> (u64, u64) {
        let (bits, shift) = (self.bits(), 2 * (STEPS - self.step));
        (bits << shift, bits.wrapping_add(1) << shift)
    }
}

impl Place {
    /// Whether the coordinates are within the limits.
    pub fn is_valid(&self) -> bool {
        (-MAX_LONGITUDE..=MAX_LONGITUDE).contains(&self.longitude)
            && (-MAX_LATITUDE..=MAX_LATITUDE).contains(&self.latitude)
    }

    /// The place's number, of 52 bits.
    pub fn number(&self) -> u64 {
        Cell::of(*self, STEPS).bits()
    }

    /// The middle of the cell with this number, which may be any double.
    pub fn from_number(number: f64) -> Place {
        const END: f64 = 18_446_744_073_709_551_616.0;
        let bits = match number {
            // Converts like x86: to a signed number, and then to an unsigned one.
            _ if number < END / 2.0 => number as i64 as u64,
            _ if number < END => number as u64,
            _ => 0,
        };
        let Area { min, max } = Cell::from_bits(bits).area();
        Place {
            longitude: min.longitude.midpoint(max.longitude).clamp(-MAX_LONGITUDE, MAX_LONGITUDE),
            latitude: min.latitude.midpoint(max.latitude).clamp(-MAX_LATITUDE, MAX_LATITUDE),
        }
    }

    /// The standard geohash of eleven letters, in which latitudes reach to the poles. The last letter is always `0`, since
    /// it would take 55 bits.
    pub fn geohash(&self) -> [u8; 11] {
        const LETTERS: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
        let cell = Cell {
            longitude: part(self.longitude, 180.0, STEPS),
            latitude: part(self.latitude, 90.0, STEPS),
            step: STEPS,
        };
        let bits = cell.bits();
        std::array::from_fn(|i| match i {
            10 => LETTERS[0],
            _ => LETTERS[(bits >> (47 - 5 * i)) as usize & 31],
        })
    }

    /// The distance along the sphere, in meters.
    pub fn distance(&self, other: &Place) -> f64 {
        let v = ((radians(other.longitude) - radians(self.longitude)) / 2.0).sin();
        if v == 0.0 {
            return meridian_distance(self.latitude, other.latitude);
        }
        let (from, to) = (radians(self.latitude), radians(other.latitude));
        let u = ((to - from) / 2.0).sin();
        let a = u * u + from.cos() * to.cos() * v * v;
        2.0 * EARTH_RADIUS_M * a.sqrt().asin()
    }
}

fn radians(degrees: f64) -> f64 {
    degrees * (PI / 180.0)
}

fn degrees(radians: f64) -> f64 {
    radians / (PI / 180.0)
}

/// The distance between two places on one meridian.
fn meridian_distance(from: f64, to: f64) -> f64 {
    EARTH_RADIUS_M * (radians(to) - radians(from)).abs()
}

/// A shape around a centre; lengths are in some unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// Within this radius.
    Circle(f64),
    /// Within half the width to the east and west, half the height to the north and south.
    Box {
        /// From west to east.
        width: f64,
        /// From south to north.
        height: f64,
    },
}

/// A search for places.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Search {
    /// The centre.
    pub center: Place,
    /// The shape to search.
    pub shape: Shape,
    /// Meters in the unit of the shape's lengths.
    pub unit_m: f64,
}

impl Search {
    /// Returns the distance of the place from the centre in meters, if the place is in the shape.
    pub fn distance(&self, place: &Place) -> Option<f64> {
        match self.shape {
            Shape::Circle(radius) => {
                let distance = self.center.distance(place);
                (distance <= radius * self.unit_m).then_some(distance)
            }
            Shape::Box { width, height } => {
                let (width, height) = (width * self.unit_m, height * self.unit_m);
                // The cheaper check first.
                if meridian_distance(place.latitude, self.center.latitude) > height / 2.0 {
                    return None;
                }
                let east = Place { longitude: self.center.longitude, ..*place };
                (place.distance(&east) <= width / 2.0).then(|| self.center.distance(place))
            }
        }
    }

    /// The bounding box: its south-western and north-eastern corners.
    fn bounds(&self) -> Area {
        let (width, height) = match self.shape {
            Shape::Circle(radius) => (radius, radius),
            Shape::Box { width, height } => (width / 2.0, height / 2.0),
        };
        let Place { longitude, latitude } = self.center;
        let angle = |length: f64| self.unit_m * length / EARTH_RADIUS_M;
        let tall = degrees(angle(height));
        // The side nearer to a pole spans more degrees.
        let nearest = if latitude < 0.0 { latitude - tall } else { latitude + tall };
        let wide = degrees(angle(width) / radians(nearest).cos());
        Area {
            min: Place { longitude: longitude - wide, latitude: latitude - tall },
            max: Place { longitude: longitude + wide, latitude: latitude + tall },
        }
    }

    /// How often to halve the coordinates, for cells about as large as the shape.
    fn steps(&self) -> u32 {
        let reach = match self.shape {
            Shape::Circle(radius) => radius,
            Shape::Box { width, height } => {
                ((width / 2.0) * (width / 2.0) + (height / 2.0) * (height / 2.0)).sqrt()
            }
        };
        let mut reach = reach * self.unit_m;
        if reach == 0.0 {
            return STEPS;
        }
        let mut steps = 1;
        while reach < MERCATOR_MAX_M {
            reach *= 2.0;
            steps += 1;
        }
        // Larger cells, to cover all but the rarest cases; even larger towards the poles, where cells are narrow.
        steps -= 2;
        let latitude = self.center.latitude.abs();
        steps -= i32::from(latitude > 66.0) + i32::from(latitude > 80.0);
        steps.clamp(1, STEPS as i32) as u32
    }

    /// Returns the ranges of numbers, each excluding its end, that contain all places of the shape: the centre's cell,
    /// then its neighbours where needed.
    pub fn ranges(&self) -> impl Iterator<Item = (u64, u64)> + use<> {
        let bounds = self.bounds();
        let mut cell = Cell::of(self.center, self.steps());
        let reaches = |cell: Cell| {
            cell.neighbour(0, 1).area().max.latitude >= bounds.max.latitude
                && cell.neighbour(0, -1).area().min.latitude <= bounds.min.latitude
                && cell.neighbour(1, 0).area().max.longitude >= bounds.max.longitude
                && cell.neighbour(-1, 0).area().min.longitude <= bounds.min.longitude
        };
        if cell.step > 1 && !reaches(cell) {
            cell = Cell::of(self.center, cell.step - 1);
        }
        let area = cell.area();
        // No neighbours are needed on a side where the centre's cell covers the shape.
        let cut = cell.step >= 2;
        let none_west = cut && area.min.longitude < bounds.min.longitude;
        let none_east = cut && area.max.longitude > bounds.max.longitude;
        let none_south = cut && area.min.latitude < bounds.min.latitude;
        let none_north = cut && area.max.latitude > bounds.max.latitude;
        let mut last = None;
        let around = [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)];
        around.into_iter().filter_map(move |(east, north)| {
            let useless = (east < 0 && none_west)
                || (east > 0 && none_east)
                || (north < 0 && none_south)
                || (north > 0 && none_north);
            if useless {
                return None;
            }
            let neighbour = cell.neighbour(east, north);
            // If the whole earth has only a few cells, the same neighbour can come twice.
            (last.replace(neighbour) != Some(neighbour)).then(|| neighbour.numbers())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PALERMO: Place = Place { longitude: 13.361_389, latitude: 38.115_556 };
    const CATANIA: Place = Place { longitude: 15.087_269, latitude: 37.502_669 };

    #[test]
    fn places_have_the_numbers_and_geohashes_that_redis_gives_them() {
        assert_eq!(PALERMO.number(), 3_479_099_956_230_698);
        assert_eq!(CATANIA.number(), 3_479_447_370_796_909);
        let stored = |place: &Place| Place::from_number(place.number() as f64);
        assert_eq!(&stored(&PALERMO).geohash(), b"sqc8b49rny0");
        assert_eq!(&stored(&CATANIA).geohash(), b"sqdtr74hyu0");
        let meters = stored(&PALERMO).distance(&stored(&CATANIA));
        assert_eq!(format!("{meters:.4}"), "166274.1516");
    }

    #[test]
    fn any_number_is_a_place() {
        let numbers = [0.0, -1.0, 1.5, -1e300, 1e300, f64::INFINITY, f64::NEG_INFINITY, 9e15, 1.7e19];
        for number in numbers {
            assert!(Place::from_number(number).is_valid(), "{number}");
        }
    }

    fn place() -> impl Strategy<Value = Place> {
        (-180.0..=180.0f64, -85.0..=85.0f64).prop_map(|(longitude, latitude)| Place { longitude, latitude })
    }

    proptest! {
        #[test]
        fn a_place_is_within_a_meter_of_its_number(place in place()) {
            let stored = Place::from_number(place.number() as f64);
            prop_assert!(stored.is_valid());
            prop_assert!(place.distance(&stored) < 1.0, "{}", place.distance(&stored));
        }

        #[test]
        fn gathering_undoes_spreading(bits: u32) {
            prop_assert_eq!(gather(spread(bits)), bits);
            prop_assert_eq!(gather(spread(bits) << 1), 0);
        }

        #[test]
        fn distance_is_the_same_both_ways(a in place(), b in place()) {
            let (there, back) = (a.distance(&b), b.distance(&a));
            prop_assert!((there - back).abs() <= there * 1e-12);
            prop_assert!((0.0..=PI * EARTH_RADIUS_M).contains(&there));
        }

        #[test]
        fn a_search_covers_all_places_of_its_shape(
            (longitude, latitude) in (-179.0..179.0f64, -60.0..60.0f64),
            (east, north) in (-1.0..1.0f64, -1.0..1.0f64),
            reach in 1.0..100_000.0f64,
            square: bool,
        ) {
            let center = Place { longitude, latitude };
            let shape = if square { Shape::Box { width: reach, height: reach } } else { Shape::Circle(reach) };
            let search = Search { center, shape, unit_m: 1.0 };
            let wide = degrees(reach / EARTH_RADIUS_M);
            let place = Place { longitude: longitude + east * wide, latitude: latitude + north * wide };
            let place = Place::from_number(place.number() as f64);
            if search.distance(&place).is_some() {
                let number = place.number();
                prop_assert!(search.ranges().any(|(from, to)| (from..to).contains(&number)));
            }
        }
    }
}
